"""The server's clock: virtual where requests take virtual time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from futureagi_async.testing import VirtualClock


def test_a_virtual_clock_stands_still() -> None:
    """It moves when told, exactly, and date and reading move together."""
    clock = VirtualClock(request_seconds=0.5)
    moment, date = clock.monotonic(), clock.now()
    time.sleep(0.002)
    assert (clock.monotonic(), clock.now()) == (moment, date)
    clock.advance(1.5)
    assert clock.monotonic() == moment + 1.5
    assert clock.now() == date + timedelta(seconds=1.5)
    assert date.tzinfo is UTC
    with pytest.raises(ValueError, match="go back"):
        clock.advance(-1)


def test_a_real_clock_follows_the_machine_and_can_be_moved_on() -> None:
    """Without virtual time it is the machine's, plus what was advanced."""
    clock = VirtualClock()
    assert abs(clock.monotonic() - time.monotonic()) < 1
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)
    clock.advance(3600)
    assert clock.now() - datetime.now(UTC) > timedelta(seconds=3590)


def test_each_request_takes_its_virtual_time(start: Any) -> None:
    """Found and refused ones, failures and disconnections: the journal's moments touch each other."""
    ask = start(request_seconds=0.25)
    begun = ask.server.clock.monotonic()
    ask.run_test(ask.server.run_test_ids[0])
    ask.version(ask.server.agent_versions[0])
    ask.execution(ask.server.test_execution_ids[0], page=0)
    ask.kpis(ask.server.test_execution_ids[0])
    ask("/nowhere/")
    ask.server.fail()
    ask.kpis(ask.server.test_execution_ids[0])
    ask.server.disconnect()
    with pytest.raises(OSError, match=r"closed|reset"):
        ask.kpis(ask.server.test_execution_ids[0])
    moments = [(request.started - begun, request.ended - begun) for request in ask.server.requests]
    assert moments == [pytest.approx((0.25 * i, 0.25 * (i + 1))) for i in range(7)]


def test_the_date_header_shows_whole_virtual_seconds(start: Any) -> None:
    """The moment at which the answer was ready, rounded down."""
    ask = start(request_seconds=0.4)
    for _ in range(5):
        reply = ask.kpis(ask.server.test_execution_ids[0])
        shown = parsedate_to_datetime(reply.headers["Date"])
        assert shown == ask.server.clock.now().replace(microsecond=0)


def test_sample_data_is_older_than_the_clock(start: Any) -> None:
    """No key lies in the future of virtual time."""
    ask = start(request_seconds=0.1)
    row = ask.run_test(ask.server.run_test_ids[0], limit=1).json()["results"][0]
    assert datetime.fromisoformat(row["timestamp"]) < ask.server.clock.now() - timedelta(hours=1)
