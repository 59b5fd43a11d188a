"""A session used where it can't be says so at once; closing one ends what is under way."""

import asyncio
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from textwrap import dedent
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from futureagi_async import RunTestCalls, Session, SessionMisuseError, TestExecutionCalls
from futureagi_async.testing import StandInServer
from tests.support.sessions import (
    FOREVER,
    UNKNOWN_ID,
    FakeClock,
    check_no_task_left,
    make_session,
    open_session,
    wait_until,
)

SOURCE = RunTestCalls(UNKNOWN_ID)
NOWHERE = {"api_key": "a", "secret_key": "b", "base_url": "http://127.0.0.1:9"}


async def stream(session: Session) -> None:
    """Read a list call by call."""
    async with session.stream_calls([SOURCE]) as calls:
        async for _ in calls:
            pass


async def stream_details(session: Session) -> None:
    """Stream the details of one call."""
    async with session.stream_call_executions([UNKNOWN_ID]) as outcomes:
        async for _ in outcomes:
            pass


METHODS: dict[str, Callable[[Session], Awaitable[object]]] = {
    "get_call_execution": lambda session: session.get_call_execution(UNKNOWN_ID),
    "get_kpis": lambda session: session.get_kpis(UNKNOWN_ID),
    "get_page": lambda session: session.get_page(TestExecutionCalls(UNKNOWN_ID)),
    "get_test_execution": lambda session: session.get_test_execution(UNKNOWN_ID),
    "get_groups": lambda session: session.get_groups(UNKNOWN_ID, row_groups=["scenario"]),
    "fetch_calls": lambda session: session.fetch_calls([SOURCE]),
    "fetch_call_executions": lambda session: session.fetch_call_executions([UNKNOWN_ID]),
    "fetch_kpis": lambda session: session.fetch_kpis([UNKNOWN_ID]),
    "stream_calls": stream,
    "stream_call_executions": stream_details,
}


@pytest.mark.anyio
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("state", ["not opened", "closed"])
async def test_a_session_works_only_while_it_is_open(
    futureagi_server: StandInServer, method: str, state: str
) -> None:
    """Before and after, every method raises what says how to use it, and sends nothing."""
    session = make_session(futureagi_server)
    if state == "closed":
        async with session:
            pass
    with pytest.raises(SessionMisuseError, match=rf"The session is {state}\. Use it inside 'async with"):
        await METHODS[method](session)
    with pytest.raises(SessionMisuseError, match=state):
        await METHODS[method](session.with_options())
    assert futureagi_server.requests == []


@pytest.mark.anyio
async def test_a_session_is_opened_once(futureagi_server: StandInServer) -> None:
    """Neither while it is open nor after it was closed; the first opening is not disturbed."""
    async with open_session(futureagi_server) as session:
        with pytest.raises(SessionMisuseError, match=r"is open; a session can be opened only once\."):
            await session.__aenter__()
        assert (await session.get_kpis(futureagi_server.test_execution_ids[0])).total_calls == 230
    with pytest.raises(SessionMisuseError, match=r"is closed; a session can be opened only once\."):
        await session.__aenter__()


@pytest.mark.parametrize("method", METHODS)
def test_a_session_stays_in_its_event_loop(futureagi_server: StandInServer, method: str) -> None:
    """A second `asyncio.run` is another loop; the session still closes in its own."""
    session = make_session(futureagi_server)
    with asyncio.Runner() as own:
        own.run(session.__aenter__())
        with asyncio.Runner() as other:
            with pytest.raises(SessionMisuseError, match="belongs to another event loop"):
                other.run(_await(METHODS[method](session)))
            with pytest.raises(SessionMisuseError, match="belongs to another event loop"):
                other.run(session.close())
        assert futureagi_server.requests == []
        assert own.run(session.get_kpis(futureagi_server.test_execution_ids[0])).total_calls == 230
        own.run(session.close())


async def _await(work: Awaitable[object]) -> object:
    return await work


def test_a_session_of_an_ended_loop_is_dropped_without_a_warning(futureagi_server: StandInServer) -> None:
    """One clear error, and nothing else: the pool was closed with its loop, and closing is harmless."""
    script = f"""
        import asyncio, gc, warnings
        from futureagi_async import Session, SessionMisuseError

        warnings.simplefilter("always")
        session = Session()

        async def begin():
            await session.__aenter__()
            await session.get_kpis("{futureagi_server.test_execution_ids[0]}")

        asyncio.run(begin())
        for _ in range(2):
            try:
                asyncio.run(session.get_kpis("{UNKNOWN_ID}"))
            except SessionMisuseError as error:
                print(error)
        asyncio.run(session.close())
        del session
        gc.collect()
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(script)],
        env=os.environ | variables_of(futureagi_server),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert not done.stderr
    said = "The session belongs to an event loop that has ended; open one in each asyncio.run(...)"
    assert [line.startswith(said) for line in done.stdout.splitlines()] == [True, True]
    assert len(futureagi_server.requests) == 1


def variables_of(server: StandInServer) -> dict[str, str]:
    """Return the settings of a stand-in as environment variables."""
    keys = {"FI_API_KEY": server.api_key, "FI_SECRET_KEY": server.secret_key}
    return keys | {"FI_BASE_URL": server.base_url}


def test_another_librarys_event_loop_is_refused(futureagi_server: StandInServer) -> None:
    """Under trio opening a session says that it takes asyncio, before anything is sent."""

    async def use() -> None:
        async with make_session(futureagi_server) as session:
            await session.get_kpis(UNKNOWN_ID)

    with pytest.raises(SessionMisuseError, match=r"needs an asyncio event loop.*asyncio\.run\(\.\.\.\)"):
        trio.run(use)
    assert not futureagi_server.requests


@pytest.mark.parametrize("opened_under", ["asyncio", "no loop"])
def test_an_open_session_is_refused_under_trio(futureagi_server: StandInServer, opened_under: str) -> None:
    """A session that asyncio opened, or nobody, raises the same class there."""
    session = make_session(futureagi_server)
    with asyncio.Runner() as own:
        if opened_under == "asyncio":
            own.run(session.__aenter__())
        with pytest.raises(SessionMisuseError):
            trio.run(session.get_kpis, UNKNOWN_ID)
        own.run(session.close())


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["stream_calls", "stream_call_executions"])
async def test_a_stream_without_its_block_says_how_it_is_used(
    futureagi_server: StandInServer, method: str
) -> None:
    """Iterating, awaiting or looping over what a stream's method returns names the missing block."""
    argument = SOURCE if method == "stream_calls" else [UNKNOWN_ID]
    async with open_session(futureagi_server) as session:
        for use in (_iterate, _await, _loop_over):
            stream = getattr(session, method)(argument)
            with pytest.raises(TypeError, match=rf"^Use 'async with session\.{method}\(\.\.\.\) as stream:'"):
                await use(stream)
    assert not futureagi_server.requests


async def _loop_over(stream: Any) -> None:
    for _ in stream:
        pass


async def _iterate(stream: Any) -> None:
    async for _ in stream:
        pass


def test_a_plain_with_says_what_is_missing() -> None:
    """``with`` in place of ``async with`` names the right one."""
    with pytest.raises(TypeError, match="Use 'async with Session"), Session(**NOWHERE):
        pass


def test_a_session_outlives_no_event_loop(futureagi_server: StandInServer) -> None:
    """Opened and closed in one `asyncio.run`, it can't be opened in the next."""
    session = make_session(futureagi_server)

    async def use() -> None:
        async with session:
            await session.get_kpis(futureagi_server.test_execution_ids[0])

    asyncio.run(use())
    with pytest.raises(SessionMisuseError, match="opened only once"):
        asyncio.run(use())


@pytest.mark.anyio
async def test_a_session_stays_in_its_thread(futureagi_server: StandInServer) -> None:
    """The loop of another thread is another loop."""
    raised: list[BaseException] = []
    async with open_session(futureagi_server) as session:

        def run() -> None:
            try:
                asyncio.run(_await(session.get_kpis(UNKNOWN_ID)))
            except SessionMisuseError as error:
                raised.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        await asyncio.to_thread(thread.join)
    assert "belongs to another event loop" in str(raised[0])
    assert futureagi_server.requests == []


def test_a_session_is_not_taken_into_a_child_process(futureagi_server: StandInServer) -> None:
    """After a fork the child is refused before it touches the parent's sockets; the parent goes on."""
    script = f"""
        import asyncio, os
        from futureagi_async import Session, SessionMisuseError

        async def main():
            async with Session() as session:
                await session.get_kpis("{futureagi_server.test_execution_ids[0]}")
                child = os.fork()
                if not child:
                    try:
                        session.get_kpis("{UNKNOWN_ID}").send(None)
                    except SessionMisuseError as error:
                        os._exit(42 if "before a fork" in str(error) else 1)
                    os._exit(2)
                print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                print((await session.get_kpis("{futureagi_server.test_execution_ids[1]}")).total_calls)

        asyncio.run(main())
    """
    command, env = [sys.executable, "-c", dedent(script)], os.environ | variables_of(futureagi_server)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["42", "120"]
    assert len(futureagi_server.requests) == 2


@pytest.mark.anyio
async def test_a_session_can_not_be_pickled(futureagi_server: StandInServer) -> None:
    """Open or not; the error says what to do instead."""
    with pytest.raises(TypeError, match="open one in each process"):
        pickle.dumps(Session(**NOWHERE))
    async with open_session(futureagi_server) as session:
        with pytest.raises(TypeError, match="open one in each process"):
            pickle.dumps(session)


@pytest.mark.anyio
async def test_closing_ends_what_is_under_way(futureagi_server: StandInServer) -> None:
    """In flight, waiting for a slot, or pausing before a retry: each call ends promptly, in one error."""
    before = asyncio.all_tasks()
    server, clock = futureagi_server, FakeClock(held=True)
    server.fail(status=503)
    server.stall(times=FOREVER)
    session = make_session(server, max_in_flight=3, clock=clock)
    await session.__aenter__()
    tasks = [asyncio.create_task(session.get_kpis(UNKNOWN_ID)) for _ in range(10)]
    await wait_until(lambda: server.in_flight == 3 and clock.sleepers == 1)
    with anyio.fail_after(2):
        await session.close()
    assert all(task.done() for task in tasks[:4])
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {SessionMisuseError}
    assert {str(outcome) for outcome in outcomes} == {
        "The session was closed while this request was in flight."
    }
    await session.close()
    check_no_task_left(before)
    await wait_until(lambda: server.in_flight == 0)
    assert len(server.requests) == 4


@pytest.mark.anyio
async def test_closing_cancels_requests_and_not_their_tasks(futureagi_server: StandInServer) -> None:
    """A task goes on with the error; one that is cancelled at the same time ends as cancelled."""
    server = futureagi_server
    server.stall(times=FOREVER)
    session = make_session(server)
    await session.__aenter__()

    async def ask() -> str:
        with pytest.raises(SessionMisuseError):
            await session.get_kpis(UNKNOWN_ID)
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        await anyio.lowlevel.checkpoint()
        return "went on"

    going_on, cancelled = asyncio.create_task(ask()), asyncio.create_task(session.get_kpis(UNKNOWN_ID))
    await wait_until(lambda: server.in_flight == 2)
    cancelled.cancel()
    await session.close()
    assert await going_on == "went on"
    await asyncio.wait([cancelled])
    assert cancelled.cancelled()


class SlowToStop(FakeClock):
    """A clock whose sleepers take their time when they are cancelled."""

    stopped = False

    async def sleep(self, seconds: float) -> None:
        try:
            await super().sleep(seconds)
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(100):
                    await anyio.lowlevel.checkpoint()
            self.stopped = True


@pytest.mark.anyio
async def test_closing_waits_for_what_it_cancels(futureagi_server: StandInServer) -> None:
    """When it is done, nothing of the session runs any more."""
    clock = SlowToStop(held=True)
    futureagi_server.fail()
    session = make_session(futureagi_server, clock=clock)
    await session.__aenter__()
    task = asyncio.create_task(session.get_kpis(UNKNOWN_ID))
    await wait_until(lambda: clock.sleepers == 1)
    await session.close()
    assert clock.stopped
    with pytest.raises(SessionMisuseError):
        await task


@pytest.mark.anyio
async def test_closing_ends_a_stream(futureagi_server: StandInServer) -> None:
    """Whoever waits for the next call is told, and the block can be left."""
    server = futureagi_server
    server.stall(times=FOREVER)
    raised: list[BaseException] = []
    session = make_session(server)
    await session.__aenter__()

    async def read() -> None:
        try:
            await session.fetch_calls([RunTestCalls(id_) for id_ in server.run_test_ids])
        except SessionMisuseError as error:
            raised.append(error)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await wait_until(lambda: server.in_flight == 3)
            await session.close()
    assert len(raised) == 1


@pytest.mark.anyio
async def test_closing_is_harmless_twice_and_before_opening(futureagi_server: StandInServer) -> None:
    """Only the first closing of an open session does anything."""
    session = make_session(futureagi_server)
    await session.close()
    async with session:
        await session.close()
        await session.close()
    with pytest.raises(SessionMisuseError, match="is closed"):
        await session.get_kpis(UNKNOWN_ID)


@pytest.mark.anyio
@pytest.mark.parametrize("error", [KeyError("mine"), asyncio.CancelledError(), SystemExit(3)])
async def test_what_is_raised_in_the_block_arrives_as_it_is(
    futureagi_server: StandInServer, error: BaseException
) -> None:
    """The very same object, not wrapped, also with requests under way, which end."""
    futureagi_server.stall(times=FOREVER)
    others: list[asyncio.Task[Any]] = []

    async def use() -> None:
        async with open_session(futureagi_server) as session:
            others.append(asyncio.create_task(session.get_kpis(UNKNOWN_ID)))
            await wait_until(lambda: futureagi_server.in_flight == 1)
            raise error

    with pytest.raises(type(error)) as caught:
        await use()
    assert caught.value is error
    with pytest.raises(SessionMisuseError):
        await others[0]


@pytest.mark.anyio
async def test_one_cancelled_call_disturbs_no_other(futureagi_server: StandInServer) -> None:
    """Its slot is free again, cancellation passes through untouched, and the next request works."""
    server = futureagi_server
    server.stall()
    async with open_session(server, max_in_flight=1) as session:
        task = asyncio.create_task(session.get_kpis(UNKNOWN_ID))
        await wait_until(lambda: server.in_flight == 1)
        task.cancel("mine")
        with pytest.raises(asyncio.CancelledError, match="mine"):
            await task
        assert (await session.get_kpis(server.test_execution_ids[0])).total_calls == 230
