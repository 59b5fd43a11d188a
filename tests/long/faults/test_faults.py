"""Every fault of the table, and the command that prints it."""

import asyncio
import base64
import pprint
import random
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme

from futureagi_async import FutureAGIError, Session, Timeouts, TLSError
from futureagi_async.events import Event, RequestSent, RetryPlanned
from tests.long.faults.defences import DEFENCES
from tests.long.faults.table import FAULTS
from tests.long.faults.wire_rows import closed_port
from tests.long.soak import HastyClock, run_server
from tests.long.soak_server import record_id
from tests.support.raw_server import open_files, raw_server, refuse
from tests.support.sessions import (
    KPIS_BODY,
    UNKNOWN_ID,
    FakeClock,
    Play,
    answer,
    make_session,
    open_session,
    tls_contexts,
)
from tests.support.slow import slow

ROOT = Path(__file__).parents[3]
EXPORTS = {35, 36, 37, 38}
"""Rows about the files of an export, which have tests of their own."""


@pytest.mark.anyio
@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_does_no_harm(name: str) -> None:
    """What callers see, and how often the server was asked, is what the table says."""
    fault = FAULTS[name]
    assert await fault.play() == fault.expected


def test_every_row_is_played() -> None:
    """Rows 1 to 40, but for those about files; each fault has a defence that is taken out once."""
    assert {fault.row for fault in FAULTS.values()} == set(range(1, 41)) - EXPORTS
    assert {name for defence in DEFENCES for name in defence.faults} == set(FAULTS)


@pytest.mark.slow
def test_the_command_sees_faults_where_a_defence_is_missing() -> None:
    """Of one row here, in a process of its own, as a missing defence may leave anything behind."""
    command = [sys.executable, "-m", "tests.long", "faults", "--row", "11", "--row", "27"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 faults, 3 as expected, 3 seen without a defence" in done.stdout
    assert "| 11 | unknown encoding | DecodingError | 1 |" in done.stdout


def test_the_docs_hold_the_table() -> None:
    """Each fault stands there with what is seen of it."""
    page = (ROOT / "docs" / "faults.md").read_text()
    for fault in FAULTS.values():
        seen = fault.expected
        tries = "" if seen.tries is None else str(seen.tries)
        row = f"| {fault.row} | {fault.name} | {seen.outcome} | {tries} | {seen.once or ''} |"
        assert row in page


pytestmark = pytest.mark.anyio

IDS = [record_id(number) for number in range(10_000)]


@pytest.mark.parametrize("trouble", ["answers 502", *slow("refuses connections", "answers 500")])
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


@pytest.mark.slow
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


PASSWORD = "c4n4ry-proxy:pass/word"
QUOTED = "someone:c4n4ry-proxy%3Apass%2Fword"
TOLD = b"Proxy-Authorization: Basic " + base64.b64encode(f"someone:{PASSWORD}".encode())


@attrs.define(frozen=True)
class Both:
    """TLS contexts of a server and a client that want each other's certificates."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def both_sides(*, known_client: bool) -> Both:
    """Make contexts for a server that asks for a client certificate, and a client that may have one."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context()
    authority.configure_trust(client)
    if known_client:
        authority.issue_cert("client@example.invalid").configure_cert(client)
    return Both(server, client)


async def test_a_private_authority() -> None:
    """Trusted where its certificate is given, over one connection."""
    tls, trusting = tls_contexts()
    async with raw_server(answer(), tls=tls) as server, open_session(server, ssl_context=trusting) as session:
        for _ in range(3):
            assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1
    assert (len(server.requests), server.connections) == (3, 1)


async def test_a_client_certificate() -> None:
    """A server that asks for one gets it."""
    both = both_sides(known_client=True)
    async with (
        raw_server(answer(), tls=both.server) as server,
        open_session(server, ssl_context=both.client) as session,
    ):
        assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1


async def test_a_missing_client_certificate() -> None:
    """An error of ours, and no answer; TLS 1.3 tells of it only after the handshake."""
    both = both_sides(known_client=False)
    async with (
        raw_server(answer(), tls=both.server) as server,
        open_session(server, ssl_context=both.client, clock=FakeClock()) as session,
    ):
        with pytest.raises(FutureAGIError):
            await session.get_kpis(UNKNOWN_ID)
    assert server.requests == []


async def test_a_server_that_can_not_be_trusted_stops_a_job() -> None:
    """One of a hundred ids finds out; at most those that were under way with it, too."""
    tls, _ = tls_contexts()
    told: list[object] = []
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(100)]
    async with (
        raw_server(answer(), tls=tls) as server,
        open_session(server, observers=[told.append]) as session,
    ):
        outcomes = await session.fetch_call_executions(ids)
    assert [outcome.id for outcome in outcomes] == ids
    assert {type(outcome.error) for outcome in outcomes} == {TLSError}
    assert sum(isinstance(event, RequestSent) for event in told) <= 16


@pytest.mark.parametrize("wrong", [False, True, "no", 0])
def test_checking_can_not_be_switched_off(wrong: Any) -> None:
    """No boolean does that: whoever wants it has to build a context that says so."""
    with pytest.raises(TypeError, match="ssl_context must be a SSLContext"):
        make_session(None, base_url="https://localhost", ssl_context=wrong)


def tunnel_to(port: int) -> Play:
    """Open a tunnel, as a proxy does when asked to CONNECT."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.transport.abort()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    return play


async def test_a_proxy_before_an_https_server() -> None:
    """It learns the host and its own password; the server learns all but the password."""
    tls, trusting = tls_contexts()
    async with raw_server(answer(), tls=tls) as server, raw_server(tunnel_to(server.port)) as proxy:
        options = {"proxy": proxy.base_url.replace("//", f"//{QUOTED}@"), "ssl_context": trusting}
        async with open_session(server, **options) as session:
            for _ in range(2):
                assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1
    (asked,) = proxy.requests
    assert asked.startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode())
    assert TOLD in asked
    assert b"key" not in asked.lower()
    assert len(server.requests) == 2
    assert all(b"X-Secret-Key: raw-secret-key" in request for request in server.requests)
    assert b"proxy-auth" not in b"".join(server.requests).lower()


async def test_a_proxy_before_an_http_server() -> None:
    """It is told its password with each request; keys go in clear to this machine's servers only."""
    async with (
        raw_server(answer()) as server,
        raw_server(answer()) as proxy,
        open_session(server, proxy=proxy.base_url.replace("//", f"//{QUOTED}@")) as session,
    ):
        assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1
    assert server.requests == []
    assert TOLD in proxy.requests[0]


async def test_a_proxys_password_is_shown_nowhere() -> None:
    """Neither by the session's parts nor by an error."""
    async with raw_server(answer()) as gone:
        proxy = gone.base_url.replace("//", f"//{QUOTED}@")
    async with open_session(None, base_url="https://api.invalid", proxy=proxy, clock=FakeClock()) as session:
        with pytest.raises(FutureAGIError) as caught:
            await session.get_kpis(UNKNOWN_ID)
        transport = session._requester._transport
        parts = [session, session._requester, transport, transport._proxy]
        names = [(part, name) for part in parts for name in dir(part) if not name.startswith("__")]
        shown = pprint.pformat([getattr(part, name) for part, name in names])
        shown += "".join(map(repr, [*parts, caught.value, vars(caught.value), vars(transport)]))
    assert "127.0.0.1" in shown
    assert "c4n4ry" not in shown
    assert base64.b64encode(f"someone:{PASSWORD}".encode()).decode() not in shown


@pytest.mark.parametrize(
    "wrong",
    ["c4n4ry@host", "ftp://c4n4ry@host", "http://c4n4ry@", "http://c4n4ry@host:99999"],
)
def test_a_wrong_proxy(wrong: str) -> None:
    """Refused before any request, without quoting what may hold a password."""
    with pytest.raises(ValueError, match="proxy must be a URL") as caught:
        make_session(None, base_url="https://localhost", proxy=wrong)
    assert "c4n4ry" not in repr(caught.value)
