"""Many requests against a server in trouble: what a session sends to it, and when."""

import asyncio
import random
import time
from typing import Any

import pytest

from futureagi_async import Session, Timeouts
from futureagi_async.events import Event, RequestSent, RetryPlanned
from tests.faults.plays import refuse
from tests.faults.quiet import open_files, raw_server
from tests.faults.soak_server import record_id
from tests.faults.wire_rows import closed_port
from tests.servers import KPIS_BODY, UNKNOWN_ID, FakeClock, answer, open_session
from tests.soak import HastyClock, run_server

pytestmark = pytest.mark.anyio

IDS = [record_id(number) for number in range(10_000)]


@pytest.mark.parametrize("trouble", ["refuses connections", "answers 502", "answers 500"])
async def test_a_dead_server_and_thousands_of_ids(trouble: str) -> None:
    """A hundred retries at most, and an outcome for each id: each can be asked for again."""
    ids = IDS[:1_000] if trouble == "answers 500" else IDS
    told: list[Event] = []
    options: dict[str, Any] = {"clock": FakeClock(), "observers": [told.append]}
    play = answer() if trouble == "refuses connections" else refuse(int(trouble[-3:]))
    async with closed_port() as refused, raw_server(play) as server:
        where = refused if trouble == "refuses connections" else {}
        async with open_session(server, **options, **where) as session:
            outcomes = await session.fetch_call_executions(ids)
    assert [outcome.id for outcome in outcomes] == ids
    assert all(outcome.error is not None and outcome.error.retryable for outcome in outcomes)
    retries = sum(isinstance(event, RetryPlanned) for event in told)
    first_tries = sum(isinstance(event, RequestSent) and event.attempt == 1 for event in told)
    assert retries <= 100
    assert first_tries <= (len(ids) if trouble == "answers 500" else 116)


async def test_an_outage_that_ends_is_no_end_of_the_job() -> None:
    """Ids that failed in the middle have their errors, and are asked for again; the others are there."""
    ids = IDS[:400]
    async with run_server(len(ids), seed=1, rate=0.0) as port:
        url = f"http://127.0.0.1:{port}"
        async with (
            raw_server(*[refuse(503)] * 30, answer()) as broken,
            open_session(broken, clock=FakeClock()) as session,
        ):
            kpis = await session.fetch_kpis(ids)
        assert len(kpis) == 400
        assert sum(outcome.error is None for outcome in kpis) >= 370
        async with open_session(None, base_url=url) as session:
            assert all(outcome.value for outcome in await session.fetch_call_executions(ids))


class Window:
    """Throttles one of the first four requests once all four are there, and notes when others come."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.throttled_at = 0.0
        self._all_here = asyncio.Event()

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.arrivals.append(time.monotonic())
        first = len(self.arrivals) == 1
        if len(self.arrivals) == 4:
            self._all_here.set()
        await self._all_here.wait()
        if first:
            self.throttled_at = time.monotonic()
            await refuse(429, head="Retry-After: 10\r\n")(reader, writer)
        else:
            await asyncio.sleep(0.05)
            await answer(KPIS_BODY)(reader, writer)


async def test_nobody_asks_within_the_window() -> None:
    """Fifty calls, one throttled: until its ``Retry-After`` has passed, the whole session sends nothing."""
    window, clock = Window(), HastyClock(seed=1)
    async with (
        raw_server(window.play) as server,
        open_session(server, clock=clock, timeouts=Timeouts(deadline=10_000)) as session,
    ):
        outcomes = await asyncio.gather(*(session.get_kpis(UNKNOWN_ID) for _ in range(50)))
    assert len(outcomes) == 50
    assert len(window.arrivals) == 51
    late = [moment for moment in window.arrivals if moment > window.throttled_at]
    assert len(late) == 47
    assert min(late) - window.throttled_at >= 10 / clock.speed


async def test_many_sessions_wake_spread_out() -> None:
    """Processes that were throttled in the same second do not come back in the same moment."""
    woken: list[float] = []
    async with raw_server(refuse(429, head="Retry-After: 30\r\n")) as server:
        for seed in range(40):
            clock = FakeClock(jitter=random.Random(seed).random())
            async with open_session(server, clock=clock) as session:
                outcomes = await session.fetch_kpis([UNKNOWN_ID])
            assert outcomes[0].error is not None
            woken.append(clock.slept[0])
    assert min(woken) >= 30
    assert max(woken) - min(woken) > 0.8
    assert len({round(moment, 1) for moment in woken}) >= 8


async def answer_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a while."""
    await asyncio.sleep(0.02)
    await answer()(reader, writer)


async def test_thousands_of_queued_calls_do_not_time_out() -> None:
    """They wait for a slot, in turn, for longer than a try may take; that counts towards no limit."""
    limits = Timeouts(connect=1, read=1, attempt=1, deadline=1)
    ids, sent = IDS[:2_000], list[str]()

    def note(event: Event) -> None:
        if isinstance(event, RequestSent):
            sent.append(event.path)

    async with raw_server(answer_slowly) as server:
        settings: dict[str, Any] = {"max_in_flight": 20, "timeouts": limits, "observers": [note]}
        began = time.monotonic()
        async with open_session(server, **settings) as session:
            await asyncio.gather(*map(session.get_kpis, ids))
        seconds = time.monotonic() - began
    assert seconds > limits.attempt
    assert len(sent) == len(server.requests) == len(ids)
    places = {path: place for place, path in enumerate(sent)}
    moved = (abs(places[f"/simulate/test-executions/{key}/kpis/"] - place) for place, key in enumerate(ids))
    assert max(moved) <= 20


async def test_many_sessions_leave_nothing_behind() -> None:
    """Opening, asking and closing again and again costs no task and no socket."""
    async with raw_server(answer()) as server:
        tasks, files = asyncio.all_tasks(), open_files()
        for _ in range(300):
            async with Session("key", "secret", server.base_url) as session:
                await session.get_kpis(UNKNOWN_ID)
        await server.wait_until_left()
        assert asyncio.all_tasks() == tasks
        assert open_files() <= files
