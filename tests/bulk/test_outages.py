"""Bulk reads whose server goes away: they wait for it, not for ever, and lose nothing."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from futureagi_async import (
    APIConnectionError,
    AuthenticationError,
    CallSource,
    FutureAGIError,
    InternalServerError,
    NotFoundError,
    RetryPolicy,
    RunTestCalls,
    Session,
    SessionMisuseError,
)
from futureagi_async.events import (
    Event,
    OutageBegan,
    OutageEnded,
    ProbePlanned,
    RequestSent,
    ResponseReceived,
    RetryPlanned,
)
from futureagi_async.export import export_calls
from futureagi_async.testing import StandInServer
from tests.long.faults.wire_rows import closed_port
from tests.support.exports import ServerClock, all_lists, pages_asked
from tests.support.outages import Failing
from tests.support.raw_server import raw_server, refuse
from tests.support.sessions import (
    FOREVER,
    UNKNOWN_ID,
    FakeClock,
    RawServer,
    answer,
    check_no_task_left,
    open_session,
    rows_of,
    send,
    wait_until,
)
from tests.support.slow import slow

pytestmark = pytest.mark.anyio

IDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(1, 1_001)]
MINUTES_10 = 600.0


def large_page(server: StandInServer) -> list[CallSource]:
    """Make a list that is read as one large page, for which another way is found where it fails."""
    return [RunTestCalls(server.add_run_test(800, slim=True))]


@pytest.mark.quick(2)
@pytest.mark.parametrize(("make", "after"), [(large_page, 1), *((all_lists, after) for after in range(1, 6))])
async def test_a_fetch_waits_for_its_server(
    server: StandInServer, make: Callable[[StandInServer], Sequence[CallSource]], after: int
) -> None:
    """Stopped in the middle and started again, it costs time: every record is there, provably."""
    sources = make(server)
    expected = [sorted(rows_of(server, source)) for source in sources]
    server.latency_seconds = 0.01  # so that several requests are under way
    failing = Failing(server, after=after, seconds=40)
    options = {"clock": failing, "observers": [failing.on_event], "max_in_flight": 4}
    async with open_session(server, **options) as session:
        result = await session.fetch_calls(sources, page_size=60)
    found = [sorted(call.id for call in result.calls if call.source == source) for source in sources]
    assert found == expected
    assert result.report.complete
    assert [report.failures for report in result.report] == [()] * len(sources)
    assert len(failing.began) == 1
    assert [ended.answered for ended in failing.ended] == [True]
    assert failing.ended[0].probes == len(failing.probes)
    counted = sum(report.requests + report.retries for report in result.report)
    assert failing.sent == counted + failing.ended[0].probes + 1
    assert 39 <= failing.ended[0].seconds <= 40 + 30 + 4


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("what", "after"), [("details", 1), ("details", 100), ("details, streamed", 100), ("kpis", 1)]
)
async def test_details_wait_for_their_server(served: StandInServer, what: str, after: int) -> None:
    """Every id has its value, those that were asked for when it stopped, too."""
    ids = list(served.test_execution_ids) if what == "kpis" else served.call_execution_ids()[:200]
    failing = Failing(served, after=after, seconds=40)
    options = {"clock": failing, "observers": [failing.on_event], "max_in_flight": 2}
    async with open_session(served, **options) as session:
        if what == "details":
            outcomes: Sequence[Any] = await session.fetch_call_executions(ids)
        elif what == "kpis":
            outcomes = await session.fetch_kpis(ids)
        else:
            async with session.stream_call_executions(ids) as stream:
                outcomes = sorted([each async for each in stream], key=lambda each: ids.index(each.id))
    assert [outcome.id for outcome in outcomes] == ids
    assert all(outcome.value is not None for outcome in outcomes)
    assert [ended.answered for ended in failing.ended] == [True]


@pytest.mark.parametrize("share", [0.6, *slow(0.05, 0.3, 0.8, 0.95)])
async def test_an_export_waits_for_its_server(served: StandInServer, tmp_path: Path, share: float) -> None:
    """Stopped while lists or transcripts are read, and started again: the files are those of a calm night."""
    sources = [*all_lists(served), RunTestCalls(served.add_run_test(1_100, slim=True))]
    options: dict[str, Any] = {"transcripts": True, "ordered": True, "page_size": 60, "format": "jsonl"}
    async with open_session(served) as session:
        expected = await export_calls(session, sources, tmp_path / "calm", **options)
    failing = Failing(served, after=int(share * len(served.requests)), seconds=800)
    async with open_session(served, clock=failing, observers=[failing.on_event], max_in_flight=4) as session:
        report = await export_calls(session, sources, tmp_path / "restless", **options)
    assert [path.read_bytes() for path in report.files] == [path.read_bytes() for path in expected.files]
    assert report.complete
    assert report.resumed == 0
    assert [ended.answered for ended in failing.ended] == [True]
    assert failing.ended[0].seconds >= 790


async def test_an_export_gives_up_and_goes_on_later(served: StandInServer, tmp_path: Path) -> None:
    """After ``max_outage`` the error says so; what was read is kept, and the same call goes on from there."""
    source = RunTestCalls(served.add_run_test(1_100, slim=True))
    failing = Failing(served, after=9, seconds=100)
    options: dict[str, Any] = {"page_size": 60, "max_outage": 30}
    async with open_session(served, clock=failing, observers=[failing.on_event], max_in_flight=2) as session:
        with pytest.raises(APIConnectionError, match=r"No request was answered for 3\d s \(max_outage\)"):
            await export_calls(session, source, tmp_path / "out", **options)
        await failing.sleep(100)
        served.clear_requests()
        report = await export_calls(session, source, tmp_path / "out", **options)
    assert report.complete
    assert report.resumed == 1
    assert report.records == 1_100
    assert pages_asked(served) < 20
    assert [ended.answered for ended in failing.ended] == [False]


async def test_one_outage_after_another(served: StandInServer) -> None:
    """A server that goes away again and again while it is read is waited for each time."""
    source = RunTestCalls(served.add_run_test(1_100, slim=True))
    rows = rows_of(served, source)
    failing = Failing(served, after=4, seconds=30, times=4)
    options = {"clock": failing, "observers": [failing.on_event], "max_in_flight": 3}
    async with open_session(served, **options) as session:
        result = await session.fetch_calls(source, page_size=60)
    assert sorted(call.id for call in result.calls) == sorted(rows)
    assert result.report.complete
    assert len(failing.began) == len(failing.ended) == 4


def requests_of(told: Sequence[Event]) -> int:
    """Count the requests that were sent, each try."""
    return sum(isinstance(event, RequestSent) for event in told)


def outages_of(told: Sequence[Event]) -> list[type[Event]]:
    """Return the kinds of events about outages, but for probes."""
    return [type(event) for event in told if isinstance(event, OutageBegan | OutageEnded)]


@pytest.mark.quick(2)
@pytest.mark.parametrize("how", ["refuses connections", "answers 502", "closes", "is no HTTP"])
@pytest.mark.parametrize("job", ["lists", "details"])
async def test_ten_minutes_without_an_answer_cost_tens_of_requests(job: str, how: str) -> None:
    """One probe at a time with growing pauses; after ``max_outage`` the last error is the job's."""
    told: list[Event] = []
    clock = FakeClock()
    play = {"closes": send(b""), "is no HTTP": send(b"hello\r\n\r\n")}.get(how, refuse(502))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(RawServer(answer(close=True), play))
        async with open_session(server, clock=clock, observers=[told.append]) as session:
            await session.get_kpis(IDS[0])
            if how == "refuses connections":
                await stack.aclose()
            began = clock.now
            errors = await (fail_details if job == "details" else fail_lists)(session)
            assert MINUTES_10 <= clock.now - began <= MINUTES_10 + 30
    kind = InternalServerError if how == "answers 502" else APIConnectionError
    asked = [error for error in errors if not error.message.startswith("Not asked for")]
    assert {type(error) for error in asked} == {kind}
    assert len(asked) <= 24
    for error in errors:
        assert error.retryable
        assert str(error).count("max_outage") == 1
        assert "o request was answered for 6" in str(error)
    assert requests_of(told) <= 24 * 4 + 35
    probes = [event.delay_seconds for event in told if isinstance(event, ProbePlanned)]
    assert probes[:6] == [0.75, 1.5, 3.0, 6.0, 12.0, 22.5]
    assert max(probes) <= 30
    assert outages_of(told) == [OutageBegan, OutageEnded]
    (ended,) = (event for event in told if isinstance(event, OutageEnded))
    assert (ended.answered, ended.probes) == (False, len(probes) + 1)


async def fail_details(session: Session) -> list[FutureAGIError]:
    """Return the errors of a thousand ids, in the order given."""
    outcomes = await session.fetch_call_executions(IDS, max_outage=MINUTES_10)
    assert [outcome.id for outcome in outcomes] == IDS
    return [outcome.error for outcome in outcomes if outcome.error is not None]


async def fail_lists(session: Session) -> list[FutureAGIError]:
    """Return the error of a thousand lists."""
    sources = list(map(RunTestCalls, IDS))
    with pytest.raises(FutureAGIError) as caught:
        await session.fetch_calls(sources, on_error="collect", max_outage=MINUTES_10)
    return [caught.value]


@pytest.mark.parametrize("on_error", ["raise", "collect"])
async def test_a_server_that_never_answered_is_not_waited_for(on_error: Any) -> None:
    """Its address may be wrong: the error comes after the usual tries, as for reads of one thing."""
    clock, told = FakeClock(), list[Event]()
    async with (
        closed_port() as options,
        open_session(None, clock=clock, observers=[told.append], **options) as session,
    ):
        if on_error == "raise":
            with pytest.raises(APIConnectionError, match=r"^Could not connect to .*, 4 attempts") as caught:
                await session.fetch_calls(RunTestCalls(UNKNOWN_ID))
            assert "max_outage" not in str(caught.value)
        else:
            (report,) = (await session.fetch_calls(RunTestCalls(UNKNOWN_ID), on_error="collect")).report
            assert report.reason == "The first page could not be read."
        (outcome,) = await session.fetch_kpis([UNKNOWN_ID])
        assert isinstance(outcome.error, APIConnectionError)
    assert requests_of(told) == 2 * 4
    assert outages_of(told) == []


async def test_one_probe_at_a_time() -> None:
    """Sixteen requests fail; then a single one is sent after each pause, whoever else waits."""
    clock = FakeClock(held=True)
    options: dict[str, Any] = {"clock": clock, "retry": RetryPolicy(attempts=1)}
    async with (
        raw_server(refuse(502)) as server,
        open_session(server, **options) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(session.fetch_kpis, IDS)
        for number, pause in enumerate((0.75, 1.5, 3.0, 6.0, 12.0, 22.5)):
            await wait_until(lambda number=number: len(clock.slept) == number + 1)
            await anyio.wait_all_tasks_blocked()
            assert (clock.sleepers, clock.slept[-1]) == (1, pause)
            assert len(server.requests) == 16 + 1 + number
            clock.advance(pause)
        tasks.cancel_scope.cancel()


async def test_nothing_new_is_sent_during_an_outage() -> None:
    """A worker whose request was answered meanwhile waits before its next; the time counts from then."""
    clock, told, released = FakeClock(held=True), list[Event](), asyncio.Event()
    options: dict[str, Any] = {"clock": clock, "observers": [told.append], "retry": RetryPolicy(attempts=1)}

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if IDS[0].encode() in server.requests[-1]:
            await released.wait()
            await answer()(reader, writer)
        else:
            await refuse(502)(reader, writer)

    async with raw_server() as server:
        server.play_on(play)
        async with (
            open_session(server, max_in_flight=2, **options) as session,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(session.fetch_kpis, IDS)
            await wait_until(lambda: clock.sleepers == 1)
            sent = requests_of(told)
            clock.advance(0.5)  # less than the pause before the probe
            server._loop.call_soon_threadsafe(released.set)
            await wait_until(lambda: any(is_answer(event) for event in told))
            await anyio.wait_all_tasks_blocked()
            assert requests_of(told) == sent
            tasks.cancel_scope.cancel()
    assert [event.seconds for event in told if isinstance(event, OutageEnded)] == [0.0]


def is_answer(event: Event) -> bool:
    """Whether an event tells of a success."""
    return isinstance(event, ResponseReceived) and event.status == 200


@pytest.mark.quick(2)
@pytest.mark.parametrize("max_outage", [60, 0])
@pytest.mark.parametrize("status", [502, 504, 522])
async def test_one_page_that_gateways_refuse_is_no_outage(
    served: StandInServer, status: int, max_outage: float
) -> None:
    """Others are answered, so its rows are read by other pages, or it is an error; nobody waits."""
    source = RunTestCalls(served.add_run_test(1_100, slim=True))
    served.fail("page=10&", times=FOREVER, status=status)
    told: list[Event] = []
    async with open_session(served, clock=ServerClock(served), observers=[told.append]) as session:
        with pytest.raises(InternalServerError) as caught:
            await session.fetch_calls(source, page_size=60, max_outage=max_outage)
        refused = sum(request.status == status for request in served.requests)
        result = await session.fetch_calls(source, page_size=60, on_error="collect", max_outage=max_outage)
    (report,) = result.report
    assert report.received > 1_000
    assert caught.value.attempts == 4
    assert "max_outage" not in str(caught.value)
    assert refused == (8 if max_outage else 4)
    assert outages_of(told) == []


async def test_an_id_that_gateways_refuse_fails_alone(served: StandInServer) -> None:
    """Its error is its own; the others are there, and nobody waits."""
    ids = served.call_execution_ids()[:50]
    served.fail(ids[7], times=FOREVER, status=502)
    told: list[Event] = []
    async with open_session(served, clock=FakeClock(), observers=[told.append]) as session:
        outcomes = await session.fetch_call_executions(ids)
    assert [outcome.id for outcome in outcomes if outcome.error is not None] == [ids[7]]
    assert isinstance(outcomes[7].error, InternalServerError)
    assert outages_of(told) == []


class Backend:
    """Answers a raw server's requests, but for some seconds after one for a ``deadly`` id."""

    def __init__(self, server: RawServer, clock: FakeClock, deadly: str = "none") -> None:
        self.away_until = 0.0
        self.stumbles = False
        """Whether it refuses each request once more when it is back, but for the first."""
        self._seen: set[bytes] = set()
        self._server = server
        self._clock = clock
        self._deadly = deadly.encode()

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer, or refuse as a gateway does."""
        request = self._server.requests[-1]
        if self._deadly in request:
            self.away_until = self._clock.now + 20
        away = self._clock.now < self.away_until
        if not away and self.stumbles and request not in self._seen:
            away = bool(self._seen)
            self._seen.add(request)
        await (refuse(502) if away else answer())(reader, writer)


async def test_a_request_that_takes_its_server_down_is_given_up() -> None:
    """It is asked for again after each outage, but not for ever; the others have their values."""
    clock = FakeClock()
    async with raw_server() as server:
        server.play_on(Backend(server, clock, IDS[5]).play)
        async with open_session(server, clock=clock, max_in_flight=1) as session:
            outcomes = await session.fetch_kpis(IDS[:10])
    assert [outcome.id for outcome in outcomes if outcome.error is not None] == [IDS[5]]
    assert sum(IDS[5].encode() in request for request in server.requests) == 5 * 4


async def test_retries_are_there_again_after_an_outage() -> None:
    """What it cost of the session's quota is forgiven: a server that comes back may stumble at first."""
    clock, told = FakeClock(), list[Event]()
    async with raw_server() as server:
        backend = Backend(server, clock)
        backend.away_until, backend.stumbles = clock.now + 600, True
        server.play_on(backend.play)
        options: dict[str, Any] = {"retry": RetryPolicy(40, max_delay=0.5), "observers": [told.append]}
        async with open_session(server, clock=clock, **options) as session:
            outcomes = await session.fetch_kpis(IDS[:20], max_outage=900)
    assert all(outcome.value for outcome in outcomes)
    assert outages_of(told) == [OutageBegan, OutageEnded]
    retries = [isinstance(event, RetryPlanned) for event in told]
    before = retries[: next(at for at, event in enumerate(told) if isinstance(event, OutageEnded))]
    assert sum(before) == 100, "the quota was used up"
    assert sum(retries) - 100 == len(IDS[:20]) - 1


async def test_what_is_no_json_does_not_end_an_outage() -> None:
    """A page that a proxy shows meanwhile is not the API's answer."""
    told: list[Event] = []
    plays = [*[refuse(502)] * 5, *[answer(b"<html>Back soon</html>")] * 4, answer()]
    async with (
        raw_server(*plays) as server,
        open_session(server, clock=FakeClock(), observers=[told.append]) as session,
    ):
        (outcome,) = await session.fetch_kpis(IDS[:1])
    assert outcome.value is not None
    assert [(event.answered, event.probes) for event in told if isinstance(event, OutageEnded)] == [(True, 5)]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthenticationError), (404, NotFoundError), (500, InternalServerError)]
)
async def test_any_answer_of_the_api_ends_an_outage(status: int, kind: type[Exception]) -> None:
    """Whatever it says; the request is asked again, and told the same."""
    told: list[Event] = []
    async with (
        raw_server(*[refuse(503)] * 7, refuse(status)) as server,
        open_session(server, clock=FakeClock(), observers=[told.append]) as session,
    ):
        (outcome,) = await session.fetch_kpis(IDS[:1])
    assert isinstance(outcome.error, kind)
    assert outcome.error.status == status
    assert [event.answered for event in told if isinstance(event, OutageEnded)] == [True]
    assert len(server.requests) == 7 + 1 + outcome.error.attempts


@pytest.mark.parametrize("on_error", ["raise", "collect"])
async def test_without_waiting_a_failure_is_one_at_once(on_error: Any) -> None:
    """``max_outage=0``: as many tries as the policy allows, and no event."""
    clock, told = FakeClock(), list[Event]()
    source = RunTestCalls(UNKNOWN_ID)
    async with (
        raw_server(refuse(503)) as server,
        open_session(server, clock=clock, observers=[told.append]) as session,
    ):
        if on_error == "raise":
            with pytest.raises(InternalServerError):
                await session.fetch_calls(source, max_outage=0)
        else:
            (report,) = (await session.fetch_calls(source, on_error="collect", max_outage=0)).report
            assert report.verdict == "incomplete"
    assert len(server.requests) == 4
    assert clock.slept == [0.125, 0.25, 0.5]
    assert outages_of(told) == []


async def test_reads_of_one_thing_do_not_wait() -> None:
    """They have their tries and their deadline, as ever."""
    clock, told = FakeClock(), list[Event]()
    async with (
        raw_server(refuse(503)) as server,
        open_session(server, clock=clock, observers=[told.append]) as session,
    ):
        for read in (session.get_kpis, session.get_call_execution, session.get_test_execution):
            with pytest.raises(InternalServerError):
                await read(UNKNOWN_ID)
        with pytest.raises(InternalServerError):
            await session.get_page(RunTestCalls(UNKNOWN_ID))
    assert len(server.requests) == 4 * 4
    assert outages_of(told) == []


async def test_a_deadline_ends_the_wait(served: StandInServer) -> None:
    """The report says incomplete, what was read before is there, and no probe follows."""
    source = RunTestCalls(served.add_run_test(1_100, slim=True))
    served.fail(times=FOREVER, after=3, status=502)
    clock, told = FakeClock(held=True), list[Event]()
    options: dict[str, Any] = {"clock": clock, "observers": [told.append], "retry": RetryPolicy(attempts=1)}
    results = []

    async def read(session: Session) -> None:
        results.append(await session.fetch_calls(source, page_size=60, deadline=10, max_outage=900))

    async with open_session(served, **options) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(read, session)
        await wait_until(lambda: clock.sleepers == 2)  # the deadline, and the pause before a probe
        await anyio.wait_all_tasks_blocked()
        clock.advance(10)
    (report,) = results[0].report
    assert report.reason == "The deadline of 10 s was reached."
    assert len(results[0].calls) == report.received > 0
    assert clock.sleepers == 0
    assert outages_of(told) == [OutageBegan, OutageEnded]


@pytest.mark.parametrize("job", ["lists", "details"])
@pytest.mark.parametrize("how", ["cancelled", "closed", "left"])
async def test_a_wait_that_ends_early_leaves_nothing_behind(job: str, how: str) -> None:
    """Cancelled, left, or its session closed: at once, without another request, a task or a slot."""
    clock, told = FakeClock(held=True), list[Event]()
    options: dict[str, Any] = {"clock": clock, "observers": [told.append], "retry": RetryPolicy(attempts=1)}
    before = asyncio.all_tasks()
    ended: list[object] = []

    async def read(session: Session) -> None:
        try:
            if job == "details":
                ended.extend(each.error for each in await session.fetch_kpis(IDS[:40], max_outage=900))
            else:
                await session.fetch_calls(list(map(RunTestCalls, IDS[:40])), max_outage=900)
        except FutureAGIError as error:
            ended.append(error)

    async def leave(session: Session) -> None:
        if job == "details":
            async with session.stream_call_executions(IDS[:40], max_outage=900):
                await wait_until(lambda: clock.sleepers == 1)
        else:
            async with session.stream_calls(list(map(RunTestCalls, IDS[:40])), max_outage=900):
                await wait_until(lambda: clock.sleepers == 1)

    async with raw_server(refuse(502)) as server, open_session(server, **options) as session:
        if how == "left":
            await leave(session)
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, session)
                await wait_until(lambda: clock.sleepers == 1)
                await anyio.wait_all_tasks_blocked()
                sent = len(server.requests)
                if how == "closed":
                    await session.close()
                else:
                    tasks.cancel_scope.cancel()
            assert len(server.requests) == sent
        check_no_task_left(before)
        assert clock.sleepers == 0
        assert session._requester._slots.taken == 0
        assert not session._requester._running
    assert {type(error) for error in ended} == ({SessionMisuseError} if how == "closed" else set())
    assert outages_of(told) == [OutageBegan, OutageEnded]


NO_SECONDS = [
    (-1, ValueError),
    (float("nan"), ValueError),
    ("60", TypeError),
    (None, TypeError),
    (True, TypeError),
]


@pytest.mark.parametrize(("seconds", "kind"), NO_SECONDS)
async def test_what_is_no_number_of_seconds_is_refused(seconds: Any, kind: type[Exception]) -> None:
    """Before any request, by each of the bulk reads."""
    async with raw_server(answer()) as server, open_session(server) as session:
        for read in (session.fetch_calls, session.fetch_call_executions, session.fetch_kpis):
            with pytest.raises(kind, match="max_outage must be"):
                await read([], max_outage=seconds)
        for open_read in (session.stream_calls, session.stream_call_executions):
            with pytest.raises(kind, match="max_outage must be"):
                open_read([], max_outage=seconds)
    assert not server.requests
