"""Many lists read at once: everything exactly once, bounded, fair, and reported in the order given."""

import asyncio
import gc
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Generator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest

from futureagi_async import (
    AgentVersionCalls,
    CallExecution,
    CallSource,
    DecodingError,
    FetchReport,
    FetchResult,
    FilterIgnoredError,
    FutureAGIError,
    RateLimitError,
    RunTestCalls,
    Session,
    SessionMisuseError,
    TestExecutionCalls,
    Timeouts,
    column,
)
from futureagi_async._sansio import decoding
from futureagi_async._sansio.decoding import ListBody
from futureagi_async.events import Event, PageArrived, VerdictReached
from futureagi_async.testing import Motion, StandInServer
from tests.support.sessions import (
    FOREVER,
    UNKNOWN_ID,
    FakeClock,
    check_no_task_left,
    let_requests_arrive,
    open_session,
    read_body,
    respond,
    rows_of,
)

pytestmark = pytest.mark.anyio


def sample_sources(server: StandInServer) -> list[CallSource]:
    """Return all lists of the sample data: with ties, snapshots, deleted calls and every status."""
    return [
        *map(RunTestCalls, server.run_test_ids),
        *(AgentVersionCalls(*ids) for ids in server.agent_versions),
        *map(TestExecutionCalls, server.test_execution_ids),
    ]


async def read(
    server: StandInServer, sources: list[CallSource], *, max_in_flight: int = 16, **options: Any
) -> tuple[list[CallExecution], FetchReport]:
    """Stream to the end."""
    async with (
        open_session(server, max_in_flight=max_in_flight) as session,
        session.stream_calls(sources, **options) as stream,
    ):
        return [call async for call in stream], stream.report


@pytest.mark.quick(2)
@pytest.mark.parametrize("page_size", [7, 100])
@pytest.mark.parametrize("consistency", ["complete", "fast"])
async def test_every_call_of_every_source_exactly_once(
    server: StandInServer, page_size: int, consistency: Literal["complete", "fast"]
) -> None:
    """Over nine lists, one of them twice, that share calls with one another and break ties anew each time."""
    sources = sample_sources(server)
    sources.append(sources[0])
    calls, report = await read(server, sources, page_size=page_size, consistency=consistency)
    seen = Counter((call.source, call.id) for call in calls)
    expected = {(source, id_) for source in sources for id_ in rows_of(server, source)}
    twice = {(source, id_) for source, id_ in expected if source == sources[0]}
    if consistency == "complete":
        assert set(seen) == expected
        assert {source.verdict for source in report} == {"complete"}, [source.reason for source in report]
    else:  # ties are split between pages, and what falls between them is lost
        assert set(seen) <= expected
        assert not report.complete
    assert {key for key, times in seen.items() if times > 1} <= twice
    assert max(seen.values()) == 2
    assert [one.source for one in report] == sources
    assert report.received == len(calls)


async def test_a_report_tells_of_each_source(server: StandInServer) -> None:
    """Counts that add up, the verdict with its reason, and the moment up to which it holds."""
    run_test_id = server.add_run_test(40, deleted=3, tie_size=4)
    begun = datetime.now(UTC).replace(microsecond=0)
    async with open_session(server, clock=FakeClock()) as session:  # pages that take no time fit all rows
        result = await session.fetch_calls(RunTestCalls(run_test_id), page_size=20)
    (report,) = result.report
    assert (report.verdict, report.failures, report.retries) == ("complete", (), 0)
    assert report.received == len(result.calls) == 37
    assert report.expected == (40 if server.dialect == "served" else 37)
    assert report.requests == len(server.requests)
    assert (report.duplicates, report.overlapping_rows) == (0, 17 if server.dialect == "served" else 20)
    assert report.reason
    assert report.complete_as_of is not None
    assert begun - timedelta(seconds=1) <= report.complete_as_of <= datetime.now(UTC)


@pytest.mark.slow
async def test_a_report_tells_what_a_moving_list_cost() -> None:
    """Sweeps over the front, gaps that were closed, and rows that came again because they had changed."""
    with StandInServer(demo=False, request_seconds=0.3) as server:
        run_test_id = server.add_run_test(1_500, slim=True, tie_size=2)
        server.move(run_test_id, Motion(updates=20))
        async with open_session(server) as session:
            result = await session.fetch_calls(RunTestCalls(run_test_id), page_size=50)
    (report,) = result.report
    assert report.verdict == "complete", report.reason
    assert report.sweeps >= 1
    assert report.gaps_repaired >= 1
    assert 1 <= report.updates <= report.duplicates + report.overlapping_rows


async def test_a_report_is_there_from_the_start(server: StandInServer) -> None:
    """While it is read, and where it was left, a source is incomplete; in the end the report is final."""
    source = RunTestCalls(server.add_run_test(300, slim=True))
    options = {"page_size": 20}
    async with open_session(server) as session, session.stream_calls([source], **options) as stream:
        (before,) = stream.report
        assert (before.verdict, before.received, before.expected) == ("incomplete", 0, None)
        first = await anext(stream)
        (during,) = stream.report
        assert (during.verdict, during.expected) == ("incomplete", 300)
        assert 20 <= during.received < 300
        rest = [call async for call in stream]
        assert stream.report.complete
    assert stream.report.received == len({first.id, *(call.id for call in rest)}) == 300
    assert len(rest) == 299


async def test_whole_pages(server: StandInServer) -> None:
    """Each page comes with what no page held before, its number and its count."""
    sources = sample_sources(server)[:3]
    seen: Counter[tuple[CallSource | None, str]] = Counter()
    async with open_session(server) as session, session.stream_calls(sources, page_size=20) as stream:
        async for page in stream.pages():
            assert page.calls
            assert len({call.source for call in page.calls}) == 1
            assert page.current_page >= 1
            assert page.count >= len(page.calls)
            seen.update((call.source, call.id) for call in page.calls)
    assert set(seen) == {(source, id_) for source in sources for id_ in rows_of(server, source)}
    assert set(seen.values()) == {1}


async def test_other_tasks_run_while_a_page_is_looked_at(server: StandInServer) -> None:
    """A loop that never waits gets the calls of a page in handfuls, and other tasks run in between."""
    source = RunTestCalls(server.add_run_test(100, slim=True))
    turns: list[int] = [0]

    async def take_turns() -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            turns[0] += 1

    async with (
        open_session(server) as session,
        session.stream_calls(source, consistency="fast") as stream,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(take_turns)
        taken_at = Counter([turns[0] async for _ in stream])
        tasks.cancel_scope.cancel()
    assert sum(taken_at.values()) == 100
    assert max(taken_at.values()) <= 25


async def test_pages_are_decoded_one_at_a_time(
    server: StandInServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that arrive together are not decoded in turns, lest other tasks wait for a turn of each."""
    sources = [RunTestCalls(server.add_run_test(10, slim=True)) for _ in range(6)]
    decode = decoding.decode_list_in_turns
    now, most = [0], [0]

    def noted(*arguments: Any) -> Generator[None, None, ListBody]:
        now[0] += 1
        most[0] = max(most[0], now[0])
        for _ in range(2_000):  # long enough for others to arrive
            yield
        body = yield from decode(*arguments)
        now[0] -= 1
        return body

    monkeypatch.setattr(decoding, "decode_list_in_turns", noted)
    async with open_session(server, max_in_flight=8) as session:
        assert len((await session.fetch_calls(sources)).calls) == 60
    assert (now, most) == ([0], [1])


async def test_a_cancelled_wait_for_the_next_call_loses_none(server: StandInServer) -> None:
    """Whether a wait for the next call is cut short or not, each call of the page is delivered."""
    source = RunTestCalls(server.add_run_test(100, slim=True))
    async with open_session(server) as session, session.stream_calls(source, consistency="fast") as stream:
        taken, cut_short = [await anext(stream)], 0
        while len(taken) < 100:
            with anyio.CancelScope() as scope:
                scope.cancel()
                taken.append(await anext(stream))
            cut_short += scope.cancelled_caught
    assert cut_short
    assert len({call.id for call in taken}) == 100


@pytest.mark.slow
async def test_a_page_is_let_go_of_call_by_call(server: StandInServer) -> None:
    """A call that the loop does not keep is freed at once, not with the whole page at its end."""
    source = RunTestCalls(server.add_run_test(100, slim=True))
    before, taken, alive = live_calls(), 0, {}
    async with open_session(server) as session, session.stream_calls(source, consistency="fast") as stream:
        async for _ in stream:
            taken += 1
            if taken in (1, 60, 100):
                alive[taken] = live_calls() - before
    assert alive == {1: 100, 60: 41, 100: 1}


def live_calls() -> int:
    """Count the calls in memory."""
    gc.collect()
    return sum(type(each) is CallExecution for each in gc.get_objects())


@pytest.mark.quick(1)
@pytest.mark.parametrize("max_in_flight", [1, 16])
async def test_sorted_calls_come_in_one_order(server: StandInServer, max_in_flight: int) -> None:
    """By source as given, then newest first, then by id, however many pages are read at once."""
    sources = sample_sources(server)
    sources.reverse()
    calls, report = await read(server, sources, max_in_flight=max_in_flight, page_size=20, ordered=True)
    places = [place(sources, call) for call in calls]
    assert places == sorted(places)
    assert report.received == len(calls)
    for number, source in enumerate(sources):
        ids = [id_ for index, _, id_ in places if index == number]
        assert sorted(ids) == sorted(rows_of(server, source))
    assert all(call.raw and call.transcript is not None for call in calls if call.source == sources[-1])


def place(sources: list[CallSource], call: CallExecution) -> tuple[int, float, str]:
    """Say where a call belongs; documented rows do not show when they changed."""
    assert call.source is not None
    changed = call.timestamp.timestamp() if call.timestamp else 0.0
    return sources.index(call.source), -changed, call.id


async def test_sorted_calls_in_pages(server: StandInServer) -> None:
    """Pages are counted anew, and an empty source gives none."""
    sources = [RunTestCalls(server.add_run_test(45)), RunTestCalls(server.add_run_test(0))]
    options = {"page_size": 20, "ordered": True}
    async with open_session(server) as session, session.stream_calls(sources, **options) as stream:
        pages = [page async for page in stream.pages()]
    assert [(len(page.calls), page.current_page) for page in pages if page.calls] == [
        (20, 1),
        (20, 2),
        (5, 3),
    ]
    assert [(page.count, page.total_pages) for page in pages[:3]] == [(45, 3)] * 3


async def test_one_long_list(server: StandInServer) -> None:
    """Sixty pages are read in parallel, within the limit; rows that show no time prove nothing."""
    source = RunTestCalls(server.add_run_test(1200, slim=True))
    server.latency_seconds = 0.01
    calls, report = await read(server, [source], page_size=20, max_in_flight=8)
    assert sorted(call.id for call in calls) == sorted(rows_of(server, source))
    assert report.complete == (server.dialect == "served")
    assert 1 < server.peak_in_flight <= 8
    assert 60 <= len(server.requests) <= 120


async def test_many_short_lists(server: StandInServer) -> None:
    """Two hundred lists of one page cost one request each, within the limit."""
    sources: list[CallSource] = [RunTestCalls(server.add_run_test(3, slim=True)) for _ in range(200)]
    server.latency_seconds = 0.01
    calls, report = await read(server, sources)
    assert Counter(call.source for call in calls) == dict.fromkeys(sources, 3)
    assert [one.source for one in report] == sources
    assert report.complete
    assert 1 < server.peak_in_flight <= 16
    assert len(server.requests) == 200


async def test_a_short_list_does_not_wait_for_a_long_one(server: StandInServer) -> None:
    """Lists take turns: three pages beside sixty are done while the sixty have hardly begun."""
    long, short = RunTestCalls(server.add_run_test(1200, slim=True)), RunTestCalls(server.add_run_test(50))
    events: list[Event] = []
    async with open_session(server, max_in_flight=2, observers=[events.append]) as session:
        await session.fetch_calls([long, short], page_size=20)
    verdicts = [event for event in events if isinstance(event, VerdictReached)]
    assert [(event.source, event.received) for event in verdicts] == [(short, 50), (long, 1200)]
    assert (verdicts[0].verdict, verdicts[1].verdict == "complete") == (
        "complete",
        server.dialect == "served",
    )
    before = events[: events.index(verdicts[0])]
    assert sum(isinstance(event, PageArrived) and event.source == long for event in before) <= 8


@pytest.mark.parametrize("way", ["stream", "updates", "fetch", "sorted"])
async def test_a_call_that_changes_while_it_is_read(futureagi_server: StandInServer, way: str) -> None:
    """A stream yields it once, unless it is to tell of updates; what is fetched or sorted is the newest."""
    server = futureagi_server
    execution_id = server.add_test_execution(50)
    path = f"/simulate/test-executions/{execution_id}/"
    page = read_body(server, path + "?limit=20")
    older = page["results"][3] | {"timestamp": "2020-01-01T00:00:00Z", "call_summary": "as it was"}
    page["results"][3] = older
    respond(server, path, page)
    options = {"page_size": 20, "updates": way == "updates", "ordered": way == "sorted"}
    source = TestExecutionCalls(execution_id)
    async with open_session(server) as session, session.stream_calls([source], **options) as stream:
        calls = (await stream.collect()).calls if way == "fetch" else [call async for call in stream]
    versions = [call.call_summary == "as it was" for call in calls if call.id == older["id"]]
    assert versions == {"stream": [True], "updates": [True, False], "fetch": [False], "sorted": [False]}[way]
    assert len({call.id for call in calls}) == 50
    (report,) = stream.report
    assert (report.updates, report.received) == (1, 50)


async def test_reading_fast_says_that_it_proves_nothing(server: StandInServer) -> None:
    """Each page once; complete is only said of a list that fitted into one page."""
    long, short = RunTestCalls(server.add_run_test(100, slim=True)), RunTestCalls(server.add_run_test(30))
    async with open_session(server) as session:
        result = await session.fetch_calls([long], page_size=20, consistency="fast")
        assert sorted(request.query["page"] for request in server.requests) == ["1", "2", "3", "4", "5"]
        atomic = await session.fetch_calls([short], page_size=100, consistency="fast")
    (report,) = result.report
    assert (report.verdict, report.received, report.requests, report.duplicates) == ("incomplete", 100, 5, 0)
    assert "consistency='fast'" in report.reason
    assert (atomic.report.complete, len(atomic.calls)) == (True, 30)


async def test_a_large_page_that_fails_is_not_insisted_on(futureagi_server: StandInServer) -> None:
    """The whole list in one page is only one way; where that fails, smaller pages do, without an error."""
    source = RunTestCalls(futureagi_server.add_run_test(90))
    futureagi_server.fail("limit=1", times=FOREVER, status=504)
    calls, report = await read(futureagi_server, [source], page_size=30)
    assert sorted(call.id for call in calls) == sorted(rows_of(futureagi_server, source))
    assert report.complete
    assert sum(request.status == 504 for request in futureagi_server.requests) == 1


async def test_a_record_that_does_not_decode_is_collected(server: StandInServer) -> None:
    """The others are delivered; the report holds the failure with its place, and can't be complete."""
    run_test_id = server.add_run_test(30)
    path = f"/simulate/run-tests/{run_test_id}/call-executions/"
    page = read_body(server, path + "?limit=100")
    page["results"][7]["id"] = 7
    respond(server, path, page, times=2)
    source = RunTestCalls(run_test_id)
    async with open_session(server) as session:
        result = await session.fetch_calls([source], on_error="collect")
        with pytest.raises(DecodingError, match=r"\$\.results\[7\]\.id"):
            await session.fetch_calls([source])
    rows = rows_of(server, source)
    assert sorted(call.id for call in result.calls) == sorted(rows[:7] + rows[8:])
    (report,) = result.report
    assert (report.verdict, report.received, report.expected) == ("incomplete", 29, 30)
    assert [error.json_path for error in report.failures if isinstance(error, DecodingError)] == [
        "$.results[7].id"
    ]
    assert "could not be decoded" in report.reason


@pytest.mark.quick(1)
@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_ending_at_any_moment(futureagi_server: StandInServer, how: str) -> None:
    """Cancelled, or its session closed, after every tenth step: it ends there, and leaves no task."""
    source = RunTestCalls(futureagi_server.add_run_test(1200, slim=True))
    ending = asyncio.CancelledError if how == "cancel" else SessionMisuseError
    for steps in range(1, 140, 10):
        before = asyncio.all_tasks()
        async with open_session(futureagi_server) as session:
            task = asyncio.create_task(session.fetch_calls([source], page_size=20))
            for _ in range(steps):
                await asyncio.sleep(0)
            if how == "cancel":
                task.cancel()
            else:
                await session.close()
            with anyio.fail_after(5):
                (outcome,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(outcome, FetchResult):
                assert outcome.report.complete
                assert steps > 60
            else:
                assert isinstance(outcome, ending)
            check_no_task_left(before)
    await let_requests_arrive(futureagi_server)


RUN_TEST = RunTestCalls("00000000-0000-4000-8000-000000000001")


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, KeyError, GeneratorExit])
async def test_any_exception_of_the_caller_arrives_as_it_was_raised(
    futureagi_server: StandInServer, kind: type[BaseException]
) -> None:
    """What is raised inside the block leaves it as the same object, in no group."""
    before = asyncio.all_tasks()
    raised = kind("the caller's own")

    async def read(session: Session) -> None:
        async with session.stream_calls(source) as stream:
            await anext(aiter(stream))
            raise raised

    source = RunTestCalls(futureagi_server.run_test_ids[0])
    async with open_session(futureagi_server) as session:
        with pytest.raises(kind) as caught:
            await read(session)
        assert caught.value is raised
    check_no_task_left(before)


@pytest.mark.anyio
async def test_a_generator_around_a_stream_can_be_closed(futureagi_server: StandInServer) -> None:
    """A caller's async generator that holds a stream open closes quietly in the middle."""
    source = RunTestCalls(futureagi_server.run_test_ids[0])

    before = asyncio.all_tasks()

    async def calls(session: Session) -> AsyncIterator[CallExecution]:
        async with session.stream_calls(source) as stream:
            async for call in stream:
                yield call

    async with open_session(futureagi_server) as session:
        generator = calls(session)
        assert await anext(generator)
        await generator.aclose()  # type: ignore[attr-defined]
    check_no_task_left(before)


@pytest.mark.anyio
@pytest.mark.parametrize("on_error", ["raise", "collect"])
async def test_a_session_that_is_not_open_is_refused_in_both_modes(on_error: str) -> None:
    """Misuse is no failure to collect: it raises."""
    session = Session("an-api-key", "a-secret-key", "http://127.0.0.1:9")
    with pytest.raises(SessionMisuseError, match="not opened"):
        await session.fetch_calls(RUN_TEST, on_error=on_error)


@pytest.mark.anyio
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_stream_can_not_be_used_after_its_block(
    futureagi_server: StandInServer, ordered: bool
) -> None:
    """Once the block is left, the stream says where it belongs."""
    source = RunTestCalls(futureagi_server.run_test_ids[0])
    async with open_session(futureagi_server) as session:
        async with session.stream_calls(source, ordered=ordered) as stream:
            await anext(aiter(stream))
        with pytest.raises(SessionMisuseError, match="async with"):
            await anext(aiter(stream.pages()))


@pytest.mark.parametrize("sources", [None, 5, "a text", [None], ["a text"]])
def test_what_is_no_source_is_named(sources: object) -> None:
    """Anything but sources is a TypeError that says what is expected."""
    session = Session("an-api-key", "a-secret-key", "http://127.0.0.1:9")
    with pytest.raises(TypeError, match="RunTestCalls, AgentVersionCalls or TestExecutionCalls"):
        session.stream_calls(sources)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_an_ignored_filter_tells_the_request(futureagi_server: StandInServer) -> None:
    """The error about a skipped filter has the request's facts and what the server said."""
    page = {"count": 1, "next": None, "results": [], "error_messages": ["Unsupported op: x"]}
    futureagi_server.respond("/test-executions/", body=json.dumps(page).encode())
    source = TestExecutionCalls(
        futureagi_server.test_execution_ids[0], filters=[column("status").equals("failed")]
    )
    async with open_session(futureagi_server) as session:
        with pytest.raises(FilterIgnoredError) as caught:
            await session.get_page(source)
    error = caught.value
    assert error.error_messages == ("Unsupported op: x",)
    assert (error.status, error.attempts, error.path) == (
        200,
        1,
        f"/simulate/test-executions/{source.test_execution_id}/",
    )


@pytest.mark.anyio
async def test_a_pause_longer_than_the_deadline_fails_later_calls_at_once(
    futureagi_server: StandInServer,
) -> None:
    """While the server's pause lasts, a call that could not outlast it fails without being sent."""
    futureagi_server.fail("/kpis/", status=429, headers={"Retry-After": "100"})
    impatient = Timeouts(deadline=20)
    async with open_session(futureagi_server, clock=FakeClock(), timeouts=impatient) as session:
        for attempts in (1, 0):
            with pytest.raises(RateLimitError) as caught:
                await session.get_kpis(futureagi_server.test_execution_ids[0])
            assert caught.value.attempts == attempts
            assert caught.value.retry_after == pytest.approx(100)
    assert len(futureagi_server.requests) == 1


@pytest.mark.anyio
async def test_received_counts_what_was_taken(futureagi_server: StandInServer) -> None:
    """A stream that is left early reports what the caller took, and does not say complete."""
    source = RunTestCalls(futureagi_server.run_test_ids[0])
    async with open_session(futureagi_server) as session:
        async with session.stream_calls(source) as stream:
            first = await anext(aiter(stream.pages()))
        report = stream.report.sources[0]
    assert report.verdict == "incomplete"
    assert report.received in (0, len(first.calls))


@pytest.mark.anyio
async def test_an_ordered_stream_needs_a_temporary_directory(
    server: StandInServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more than fits in memory can't be put anywhere, the error is ours and names the variable."""
    row = {"id": UNKNOWN_ID, "call_summary": "x" * 33 * 1024 * 1024}
    page = {"count": 1, "next": None, "previous": None, "total_pages": 1, "current_page": 1, "results": [row]}
    server.respond("/call-executions/", body=json.dumps(page).encode(), times=3)
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    async with open_session(server) as session:
        with pytest.raises(FutureAGIError, match=r"^Can't sort in a temporary file: .* TMPDIR may name"):
            await session.fetch_calls(RunTestCalls(UNKNOWN_ID), ordered=True)
