"""Waiting for test executions and watching lists, over real sockets, in a time that only requests move."""

import pickle
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from futureagi_async import (
    AgentVersionCalls,
    APIConnectionError,
    AuthenticationError,
    CallExecution,
    DecodingError,
    ExecutionState,
    FutureAGIError,
    NotFoundError,
    RunTestCalls,
    SessionMisuseError,
    TestExecutionCalls,
    WaitTimeoutError,
)
from futureagi_async.events import Event, ExecutionChecked
from futureagi_async.testing import Run, StandInServer
from tests.support.exports import ServerClock
from tests.support.outages import Failing
from tests.support.sessions import UNKNOWN_ID, make_session, open_session, wait_until
from tests.support.slow import slow

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["served", "documented"])
def timed(request: pytest.FixtureRequest) -> Iterator[StandInServer]:
    """Run a stand-in on virtual time, once in each dialect."""
    with StandInServer(dialect=request.param, request_seconds=0.05, demo=False) as running:
        yield running


def statuses(server: StandInServer, execution_id: str) -> Counter[str]:
    """Count the statuses that the server's own list shows."""
    found = Counter[str]()
    for status in ("pending", "ongoing", "completed", "failed", "cancelled"):
        now = server.clock.monotonic()
        found[status] = len(server.alive_throughout(execution_id, now, now, status=status))
    return +found


@pytest.mark.quick(8)
@pytest.mark.parametrize("calls", [0, 12, 90, 350])
@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled"])
async def test_an_execution_is_waited_for(timed: StandInServer, calls: int, ending: Any) -> None:
    """Its last state is what the server has then, and it comes no more than two pauses late."""
    execution_id = timed.add_test_execution(calls, slim=True)
    run = Run(calls_at_once=max(1, calls // 6), evaluation_seconds=30, ending=ending)
    timed.run_execution(execution_id, run)
    told: list[ExecutionChecked] = []

    def note(event: Event) -> None:
        if isinstance(event, ExecutionChecked):
            told.append(event)

    async with open_session(timed, clock=ServerClock(timed), observers=[note]) as session:
        state = await session.wait_for_execution(execution_id)
    assert (state.id, state.status, state.is_final) == (execution_id, ending, True)
    assert state.counts == statuses(timed, execution_id)
    assert state.calls == calls
    assert state.pending_evaluations == 0
    assert told[-1] == ExecutionChecked(state=state, delay_seconds=0)
    assert not any(each.state.is_final for each in told[:-1])
    assert state.elapsed < 120
    if calls:
        assert {each.state.status for each in told} >= {ending, "running"}


async def test_an_execution_that_is_final_takes_one_look(timed: StandInServer) -> None:
    """It is not waited for; an agent's id, or an unknown one, is an error at once."""
    execution_id = timed.add_test_execution(30, slim=True)
    timed.run_execution(execution_id)
    timed.clock.advance(1000)
    async with open_session(timed, clock=ServerClock(timed)) as session:
        state = await session.wait_for_execution(execution_id, timeout=0)
        assert state.is_final
        assert len(timed.requests) == 1
        with pytest.raises(NotFoundError) as unknown:
            await session.wait_for_execution(UNKNOWN_ID)
    assert "deleted" not in str(unknown.value)


async def test_one_that_stalls_times_out(timed: StandInServer) -> None:
    """The error has what was seen last, is a TimeoutError, and survives pickling."""
    execution_id = timed.add_test_execution(40, slim=True)
    timed.run_execution(execution_id, Run(ending="stalled"))
    async with open_session(timed, clock=ServerClock(timed)) as session:
        with pytest.raises(
            WaitTimeoutError, match=r"not final after 600 s \(timeout\): running: 20 pend"
        ) as up:
            await session.wait_for_execution(execution_id, timeout=600)
    state = up.value.state
    assert isinstance(up.value, TimeoutError)
    assert isinstance(up.value, FutureAGIError)
    assert isinstance(state, ExecutionState)
    assert state.counts == statuses(timed, execution_id)
    assert 600 <= state.elapsed < 605
    copy = pickle.loads(pickle.dumps(up.value))
    assert (copy.state, str(copy)) == (state, str(up.value))


@pytest.mark.quick(1)
async def test_a_quiet_wait_asks_for_little_and_seldom(timed: StandInServer) -> None:
    """A row a look, and the looks get rarer: an hour costs tens of small requests."""
    execution_id = timed.add_test_execution(500, slim=True)
    timed.run_execution(execution_id, Run(ending="stalled", ending_after=0))
    async with open_session(timed, clock=ServerClock(timed)) as session:
        with pytest.raises(WaitTimeoutError):
            await session.wait_for_execution(execution_id, timeout=3600)
    looks = [request for request in timed.requests if request.query.get("limit") == "1"]
    assert 60 <= len(looks) <= 80
    assert len(timed.requests) <= 2 * len(looks)


async def test_waiting_leaves_half_of_the_budget(timed: StandInServer) -> None:
    """Whatever the pause that was asked for."""
    execution_id = timed.add_test_execution(15, slim=True)
    timed.run_execution(execution_id, Run(ending="stalled"))
    async with open_session(timed, clock=ServerClock(timed), max_requests_per_minute=1200) as session:
        with pytest.raises(WaitTimeoutError):
            await session.wait_for_execution(execution_id, timeout=3, poll=0.01)
    assert 10 < len(timed.requests) <= 3 * 1200 / 60 / 2 + 1


@pytest.mark.parametrize("calls", [10, 250])
async def test_one_that_disappears_is_a_clear_error(timed: StandInServer, calls: int) -> None:
    """Deleted while it is waited for, it is not found any more, and the error says why."""
    execution_id = timed.add_test_execution(calls, slim=True)
    timed.run_execution(execution_id)
    timed.delete_execution(execution_id, after_seconds=12)
    async with open_session(timed, clock=ServerClock(timed)) as session:
        with pytest.raises(NotFoundError, match="is gone: it was deleted meanwhile"):
            await session.wait_for_execution(execution_id)
        with pytest.raises(NotFoundError):
            await session.wait_for_execution(execution_id)


@pytest.mark.parametrize("after", [2, *slow(1, 5, 9)])
async def test_a_wait_outlasts_an_outage(server: StandInServer, after: int) -> None:
    """The server is stopped and started again: the execution is final all the same."""
    execution_id = server.add_test_execution(250, slim=True)
    server.run_execution(execution_id, Run(calls_at_once=100, evaluation_seconds=20))
    failing = Failing(server, after=after, seconds=100)
    async with open_session(server, clock=failing, observers=[failing.on_event]) as session:
        state = await session.wait_for_execution(execution_id)
    assert (state.status, state.calls) == ("completed", 250)
    assert [ended.answered for ended in failing.ended] == [True]


async def test_an_outage_ends_with_the_wait(served: StandInServer) -> None:
    """The time is up whatever the reason: the error has what was seen before, and its cause."""
    execution_id = served.add_test_execution(30, slim=True)
    served.run_execution(execution_id, Run(ending="stalled"))
    failing = Failing(served, after=2, seconds=1000)
    async with open_session(served, clock=failing, observers=[failing.on_event]) as session:
        with pytest.raises(WaitTimeoutError) as up:
            await session.wait_for_execution(execution_id, timeout=120)
    assert up.value.state is not None
    assert up.value.state.calls == 30
    assert up.value.state.elapsed < 200
    assert isinstance(up.value.__cause__, APIConnectionError)


async def test_an_outage_that_is_too_long_ends_the_wait(served: StandInServer) -> None:
    """After ``max_outage`` seconds the last error is raised."""
    execution_id = served.add_test_execution(30, slim=True)
    served.run_execution(execution_id, Run(ending="stalled"))
    failing = Failing(served, after=2, seconds=1000)
    async with open_session(served, clock=failing, observers=[failing.on_event]) as session:
        with pytest.raises(APIConnectionError, match="max_outage"):
            await session.wait_for_execution(execution_id, max_outage=60)


async def test_refused_keys_end_the_wait(timed: StandInServer) -> None:
    """Nothing would come of asking again."""
    execution_id = timed.add_test_execution(5, slim=True)
    timed.run_execution(execution_id)
    timed.fail(status=401, after=2)
    async with open_session(timed, clock=ServerClock(timed)) as session:
        with pytest.raises(AuthenticationError):
            await session.wait_for_execution(execution_id)


async def test_a_record_that_can_not_be_read_ends_the_wait(served: StandInServer) -> None:
    """Whether it is final can't be told; the error names its place."""
    execution_id = served.add_test_execution(5, slim=True)
    served.alter_call(served.test_execution_rows(execution_id)[1], {"id": None})
    async with open_session(served) as session:
        with pytest.raises(DecodingError, match=r"results\[1\]"):
            await session.wait_for_execution(execution_id)


async def test_closing_the_session_ends_the_wait(served: StandInServer) -> None:
    """Also between two looks."""
    execution_id = served.add_test_execution(5, slim=True)
    served.run_execution(execution_id, Run(ending="stalled"))
    session = make_session(served)
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            with pytest.raises(SessionMisuseError):
                await session.wait_for_execution(execution_id, poll=1000)

        async with session:
            tasks.start_soon(wait)
            await wait_until(lambda: served.requests and not served.in_flight)


@pytest.mark.quick(2)
@pytest.mark.parametrize("calls", [15, 60, 180])
async def test_each_call_is_given_once_when_it_is_final(timed: StandInServer, calls: int) -> None:
    """With all its evaluations, and no later than the next looks; it ends with the execution."""
    execution_id = timed.add_test_execution(calls)
    timed.run_execution(execution_id, Run(calls_at_once=calls // 5, evaluation_seconds=60))
    given: list[CallExecution] = []
    first_at = None
    async with (
        open_session(timed, clock=ServerClock(timed)) as session,
        session.watch_calls(TestExecutionCalls(execution_id)) as finished,
    ):
        async for call in finished:
            first_at = first_at or timed.clock.monotonic()
            given.append(call)
    assert sorted(call.id for call in given) == sorted(timed.test_execution_rows(execution_id))
    assert {call.status for call in given} == {"completed", "failed"}
    assert not any(output.pending for call in given for output in (call.eval_outputs or {}).values())
    evaluated = [call for call in given if call.status == "completed"]
    assert all(call.eval_outputs for call in evaluated)
    assert first_at is not None
    assert first_at < timed.clock.monotonic() - 60  # failed calls came long before the end


async def test_a_stopped_execution_gives_what_ended(timed: StandInServer) -> None:
    """Calls that it cancelled are among them, and the watching ends."""
    execution_id = timed.add_test_execution(30, slim=True)
    timed.run_execution(execution_id, Run(ending="cancelled"))
    async with (
        open_session(timed, clock=ServerClock(timed)) as session,
        session.watch_calls(TestExecutionCalls(execution_id)) as finished,
    ):
        given = [call.status async for call in finished]
    assert Counter(given) == statuses(timed, execution_id)


@pytest.mark.parametrize("kind", ["run test", "agent version"])
async def test_other_lists_are_watched_until_all_is_final(timed: StandInServer, kind: str) -> None:
    """They have no status of their own."""
    run_test_id = timed.add_run_test(120, slim=True, snapshots=5)
    (execution_id,) = timed.run_test_executions(run_test_id)
    timed.run_execution(execution_id, Run(calls_at_once=40, evaluation_seconds=20))
    source: Any = RunTestCalls(run_test_id)
    expected = set(timed.test_execution_rows(execution_id))
    if kind == "agent version":
        source = AgentVersionCalls(*timed.add_agent_version(25, slim=True))
        expected = set(timed.version_rows(source.agent_id, source.version_id))
    async with (
        open_session(timed, clock=ServerClock(timed)) as session,
        session.watch_calls(source) as finished,
    ):
        given = [call.id async for call in finished]
    assert len(given) == len(set(given))
    assert set(given) == expected


async def _collect(calls: AsyncIterator[CallExecution], statuses: list[str | None]) -> None:
    async for call in calls:
        statuses.append(call.status)  # noqa: PERF401 - what came before an error counts


async def test_a_watch_times_out(timed: StandInServer) -> None:
    """What was final was given before; a run test has no state."""
    run_test_id = timed.add_run_test(30, slim=True)
    (execution_id,) = timed.run_test_executions(run_test_id)
    timed.run_execution(execution_id, Run(ending="stalled"))
    for source in (RunTestCalls(run_test_id), TestExecutionCalls(execution_id)):
        given = list[str | None]()
        async with (
            open_session(timed, clock=ServerClock(timed)) as session,
            session.watch_calls(source, timeout=120) as finished,
        ):
            with pytest.raises(WaitTimeoutError) as up:
                await _collect(finished, given)
        assert "failed" in given
        assert (up.value.state is None) == isinstance(source, RunTestCalls)


async def test_a_watch_can_be_left(timed: StandInServer) -> None:
    """Nothing is asked for while the caller is busy, and nothing after the block."""
    execution_id = timed.add_test_execution(30, slim=True)
    timed.run_execution(execution_id)
    async with open_session(timed, clock=ServerClock(timed)) as session:
        async with session.watch_calls(TestExecutionCalls(execution_id)) as finished:
            async for _ in finished:
                asked = len(timed.requests)
                await session.get_kpis(execution_id)
                assert len(timed.requests) == asked + 1
                break
        await session.get_kpis(execution_id)
        assert len(timed.requests) == asked + 2


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ({"timeout": -1}, ValueError, "timeout must be 0 seconds or more"),
        ({"timeout": float("nan")}, ValueError, "timeout"),
        ({"timeout": "60"}, TypeError, "timeout must be a number of seconds, not str"),
        ({"poll": 0}, ValueError, "poll must be more than 0 seconds"),
        ({"poll": float("inf")}, ValueError, "poll"),
        ({"poll": True}, TypeError, "poll"),
        ({"max_outage": -5}, ValueError, "max_outage"),
    ],
)
async def test_wrong_arguments_are_refused(
    served: StandInServer, wrong: dict[str, Any], kind: type[Exception], message: str
) -> None:
    """Before any request, by both."""
    execution_id = served.test_execution_ids[0]
    async with open_session(served) as session:
        with pytest.raises(kind, match=message):
            await session.wait_for_execution(execution_id, **wrong)
        with pytest.raises(kind, match=message):
            session.watch_calls(TestExecutionCalls(execution_id), **wrong)
        with pytest.raises(ValueError, match="test_execution_id must be a UUID"):
            await session.wait_for_execution("latest")
        with pytest.raises(TypeError, match="A source is"):
            session.watch_calls(execution_id)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"async with session\.watch_calls"):
            async for _ in session.watch_calls(TestExecutionCalls(execution_id)):  # type: ignore[attr-defined]
                pass
    assert not served.requests


async def test_a_session_that_is_not_open_can_not_wait(served: StandInServer) -> None:
    """It says so at once."""
    session = make_session(served)
    with pytest.raises(SessionMisuseError):
        await session.wait_for_execution(served.test_execution_ids[0])
