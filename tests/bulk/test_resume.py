"""Resuming an interrupted read: nothing is delivered twice, nothing is lost, little is asked again."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from futureagi_async import AgentVersionCalls, CallSource, FetchReport, RunTestCalls, TestExecutionCalls
from futureagi_async.testing import Motion, StandInServer, VirtualClock
from tests.support.sessions import (
    FOREVER,
    UNKNOWN_ID,
    let_requests_arrive,
    open_session,
    read_body,
    respond,
    rows_of,
)
from tests.support.slow import slow

pytestmark = pytest.mark.anyio

PAGE_SIZE = 50
MAX_IN_FLIGHT = 4


@attrs.define(frozen=True)
class OwnClock:
    """The server's virtual clock, as a process sees it that began some time ago."""

    server: VirtualClock
    ahead: float

    def monotonic(self) -> float:
        return self.server.monotonic() + self.ahead

    def jitter(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        self.server.advance(seconds)


@pytest.fixture
def server() -> Iterator[StandInServer]:
    """A server whose time passes with its requests, so that its lists can change."""
    with StandInServer(request_seconds=0.05) as server:
        yield server


@pytest.fixture
def sources(server: StandInServer) -> list[CallSource]:
    """Three kinds of lists, each too long for one page."""
    return [
        RunTestCalls(server.add_run_test(1_100, slim=True, tie_size=4)),
        AgentVersionCalls(*server.add_agent_version(1_100, slim=True)),
        TestExecutionCalls(server.add_test_execution(1_100, slim=True)),
    ]


def pages_asked_for(server: StandInServer) -> int:
    """Count the requests for pages."""
    return sum("page" in request.query for request in server.requests)


async def read(
    server: StandInServer,
    sources: Sequence[CallSource],
    *,
    marks: Sequence[bytes] = (),
    stop_after: int | None = None,
    ahead: float = 0.0,
    **options: Any,
) -> tuple[list[tuple[int, str]], list[bytes], FetchReport]:
    """Read some steps, or all, as a process of its own would: another session, another clock."""
    got: list[tuple[int, str]] = []
    kept: list[bytes] = []
    async with (
        open_session(server, clock=OwnClock(server.clock, ahead), max_in_flight=MAX_IN_FLIGHT) as session,
        session.stream_calls(sources, page_size=PAGE_SIZE, resume=marks, **options) as stream,
    ):
        async for step in stream.steps():
            got += [(step.index, call.id) for call in step.page.calls]
            kept.append(step.checkpoint)
            if len(kept) == stop_after:
                break
    return got, kept, stream.report


def everything(server: StandInServer, sources: Sequence[CallSource]) -> list[tuple[int, str]]:
    """Return the ids that all lists hold, by source."""
    return sorted((index, name) for index, source in enumerate(sources) for name in rows_of(server, source))


@pytest.mark.parametrize("stops", [(2, 1, 20), *slow((1,), (25, 25))])
async def test_an_interrupted_read_goes_on_where_it_was(
    server: StandInServer, sources: list[CallSource], stops: tuple[int, ...]
) -> None:
    """Over several interruptions each call comes once, and only pages in flight are asked for again."""
    _, _, uninterrupted = await read(server, sources)
    needed = pages_asked_for(server)
    got: list[tuple[int, str]] = []
    marks: list[bytes] = []
    for number, stop_after in enumerate((*stops, None)):
        more, kept, report = await read(
            server, sources, marks=marks, stop_after=stop_after, ahead=-5e6 * number
        )
        got, marks = got + more, marks + kept
    assert sorted(got) == everything(server, sources)
    assert report.complete
    assert [source.received for source in report] == [source.received for source in uninterrupted]
    assert pages_asked_for(server) - needed <= needed + len(stops) * MAX_IN_FLIGHT


async def test_a_finished_read_asks_for_nothing(server: StandInServer, sources: list[CallSource]) -> None:
    """With all marks of a read that was proven complete, there is nothing left to do."""
    _, marks, before = await read(server, sources)
    asked = pages_asked_for(server)
    got, _, after = await read(server, sources, marks=marks)
    assert (got, after.complete, pages_asked_for(server)) == ([], True, asked)
    assert [source.complete_as_of for source in after] == [source.complete_as_of for source in before]


async def test_what_changed_during_the_interruption_is_found(server: StandInServer) -> None:
    """However long it took, and whatever the new process's clock shows: complete means complete."""
    for kind in ("run_test", "test_execution"):
        listed = getattr(server, f"add_{kind}")(1_500, slim=True)
        source: CallSource = (RunTestCalls if kind == "run_test" else TestExecutionCalls)(listed)
        got, marks, _ = await read(server, [source], stop_after=20)
        server.move(listed, Motion(seed=3, updates=2.0, inserts=0.5))
        server.clock.advance(120.0)
        server.stop_motion()
        more, _, report = await read(server, [source], marks=marks, ahead=-1e6)
        there = rows_of(server, source)
        assert report.complete, report.sources[0].reason
        assert set(there) <= {name for _, name in got + more}
        assert len(got + more) == len(set(got + more))


async def test_a_source_without_proof_is_begun_anew(server: StandInServer) -> None:
    """What it delivered is not delivered again, and its failures are those of the new attempt."""
    run_test = server.add_run_test(300, slim=True)
    source = RunTestCalls(run_test)
    page = read_body(server, f"/simulate/run-tests/{run_test}/call-executions/?page=1&limit=380")
    bad = page["results"][100]["id"]
    page["results"][100]["id"] = 5
    respond(server, "limit=380", page, times=1)
    got, marks, report = await read(server, [source], on_error="collect")
    assert (report.complete, len(report.sources[0].failures)) == (False, 1)
    more, _, report = await read(server, [source], marks=marks, on_error="collect")
    assert [name for _, name in more] == [bad]
    assert report.complete
    assert report.sources[0].failures == ()
    assert sorted(got + more) == everything(server, [source])


async def test_failures_of_an_earlier_run_are_reported(server: StandInServer) -> None:
    """A page that could not be read before the interruption is told of after it."""
    source = RunTestCalls(server.add_run_test(1_200, slim=True))
    server.fail(times=1, status=400, after=5)
    _, marks, before = await read(server, [source], stop_after=40, on_error="collect")
    _, _, after = await read(server, [source], marks=marks, on_error="collect")
    (failure,) = before.sources[0].failures
    assert [str(error) for error in after.sources[0].failures] == [str(failure)]
    assert after.complete


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda marks: [b"nonsense"], "checkpoints of an earlier stream's steps"),
        (lambda marks: [marks[0].replace(b"\x03", b"\x02", 1)], "another version"),
        (lambda marks: ["text"], "checkpoints of an earlier stream's steps"),
        (lambda marks: marks[3:], "lacks some checkpoints"),
        (lambda marks: [marks[0], marks[0]], "lacks some checkpoints"),
    ],
)
async def test_marks_that_are_none_are_refused(server: StandInServer, change: Any, words: str) -> None:
    """One clear error, before any request."""
    source = RunTestCalls(server.add_run_test(1_100, slim=True))
    _, marks, _ = await read(server, [source], stop_after=10)
    await let_requests_arrive(server)
    asked = pages_asked_for(server)
    with pytest.raises(ValueError, match=words):
        await read(server, [source], marks=change(marks))
    assert pages_asked_for(server) == asked


async def test_marks_of_another_read_are_refused(server: StandInServer, sources: list[CallSource]) -> None:
    """Of other sources, of the same in another order, with other options."""
    _, marks, _ = await read(server, sources, stop_after=30)
    with pytest.raises(ValueError, match="other sources"):
        await read(server, sources[::-1], marks=marks)
    with pytest.raises(ValueError, match="more sources"):
        await read(server, sources[:1], marks=marks)
    with pytest.raises(ValueError, match="other options"):
        await read(server, sources, marks=marks, consistency="fast")


async def test_an_ordered_stream_has_no_steps(server: StandInServer) -> None:
    """Its records come when all are read, so there is nothing to go on from."""
    async with (
        open_session(server) as session,
        session.stream_calls(RunTestCalls(server.run_test_ids[0]), ordered=True) as stream,
    ):
        with pytest.raises(ValueError, match="ordered stream has no steps"):
            stream.steps()


async def test_a_step_can_be_restored_from_its_bytes(server: StandInServer) -> None:
    """What was kept as bytes becomes the same call again, source included, also after the stream."""
    sources = [RunTestCalls(name) for name in server.run_test_ids[:2]]
    async with open_session(server) as session, session.stream_calls(sources) as stream:
        calls = [(step.index, call) async for step in stream.steps() for call in step.page.calls]
    assert calls
    for index, call in calls:
        assert stream.restore(call.raw, index) == call
        assert stream.restore(call.raw, index).source == sources[index]


class TestChangesOnly:
    """``changed_since``: what an earlier complete read did not see."""

    @pytest.mark.quick(1)
    @pytest.mark.parametrize("kind", ["run_test", "test_execution", "agent_version"])
    async def test_only_changes_are_read(self, server: StandInServer, kind: str) -> None:
        """Few requests find what changed; what did not change is not delivered."""
        listed = getattr(server, f"add_{kind}")(2_000, slim=True)
        source: CallSource = {
            "run_test": RunTestCalls,
            "test_execution": TestExecutionCalls,
            "agent_version": lambda pair: AgentVersionCalls(*pair),
        }[kind](listed)
        _, _, before = await read(server, [source])
        since = before.sources[0].complete_as_of
        assert since is not None
        server.clock.advance(60.0)
        server.move(listed, Motion(seed=1, updates=1.0))
        server.clock.advance(20.0)
        server.stop_motion()
        server.clock.advance(10.0)
        asked = pages_asked_for(server)
        changed, _, after = await read(server, [source], changed_since={source: since})
        (report,) = after
        assert report.complete_as_of is not None
        assert (report.verdict, report.expected, report.received) == ("complete", None, len(changed))
        assert report.complete_as_of > since
        assert "Everything that changed since" in report.reason
        assert pages_asked_for(server) - asked <= 6
        async with open_session(server) as session:
            calls = (await session.fetch_calls(source)).calls
        margin = since - timedelta(seconds=5)
        wanted = {call.id for call in calls if call.timestamp is not None and call.timestamp >= margin}
        assert {name for _, name in changed} == wanted
        assert 10 <= len(changed) <= 40

    async def test_a_list_that_changed_altogether(self, server: StandInServer) -> None:
        """Everything is read, as if nothing had been known."""
        sources: list[CallSource] = [
            RunTestCalls(server.add_run_test(150, slim=True)),
            TestExecutionCalls(server.add_test_execution(150, slim=True)),
        ]
        long_ago = datetime(2020, 1, 1, tzinfo=UTC)
        got, _, report = await read(server, sources, changed_since=dict.fromkeys(sources, long_ago))
        assert sorted(got) == everything(server, sources)
        assert report.complete

    async def test_lists_that_show_no_times(self) -> None:
        """In the documented dialect nobody can tell what changed: the list is read as a whole."""
        with StandInServer(dialect="documented", request_seconds=0.05) as server:
            source = RunTestCalls(server.run_test_ids[0])
            since = {source: datetime(2020, 1, 1, tzinfo=UTC)}
            got, _, report = await read(server, [source], changed_since=since)
            assert sorted(got) == everything(server, [source])
            assert report.complete

    @pytest.mark.parametrize(
        ("since", "kind", "words"),
        [
            (datetime(2026, 1, 1), TypeError, "must map sources"),
            ({"run": datetime(2026, 1, 1, tzinfo=UTC)}, TypeError, "A source is"),
            ({RunTestCalls(UNKNOWN_ID): "2026-01-01"}, TypeError, "must be a datetime"),
            ({RunTestCalls(UNKNOWN_ID): datetime(2026, 1, 1)}, ValueError, "name its zone"),
        ],
    )
    async def test_what_is_no_time(
        self, server: StandInServer, since: Any, kind: type[Exception], words: str
    ) -> None:
        """One clear error, before any request."""
        server.fail(times=FOREVER, status=500)
        with pytest.raises(kind, match=words):
            await read(server, [RunTestCalls(UNKNOWN_ID)], changed_since=since)
        assert pages_asked_for(server) == 0
