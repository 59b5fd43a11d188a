"""Reads without async: in a script, and where an event loop runs already."""

import asyncio
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from futureagi_async import (
    AuthenticationError,
    NotFoundError,
    RunTestCalls,
    Session,
    SessionMisuseError,
    TestExecutionCalls,
    blocking,
    fetch_table,
)
from futureagi_async.testing import StandInServer
from tests.support.sessions import UNKNOWN_ID, make_session


@pytest.fixture
def environment(served: StandInServer, monkeypatch: pytest.MonkeyPatch) -> StandInServer:
    """Let the environment hold a stand-in's address and keys."""
    monkeypatch.setenv("FI_BASE_URL", served.base_url)
    monkeypatch.setenv("FI_API_KEY", served.api_key)
    monkeypatch.setenv("FI_SECRET_KEY", served.secret_key)
    return served


def in_a_running_loop(work: Callable[[], Any]) -> Any:
    """Call a function as a notebook's cell does: inside an event loop that goes on."""

    async def cell() -> Any:
        return work()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(cell())
    finally:
        loop.close()


def directly(work: Callable[[], Any]) -> Any:
    """Call a function as a script does."""
    return work()


WHERE = pytest.mark.parametrize("where", [directly, in_a_running_loop])


@WHERE
def test_reads_need_no_async(environment: StandInServer, tmp_path: Path, where: Any) -> None:
    """Each function gives what its async namesake gives, wherever it is called."""
    source = RunTestCalls(environment.run_test_ids[1])
    ids = environment.run_test_rows(source.run_test_id)
    table = where(lambda: blocking.fetch_table(source, columns=["id"], page_size=50))
    assert sorted(table.calls["id"].to_pylist()) == sorted(ids)
    assert {call.id for call in where(lambda: blocking.fetch_calls(source)).calls} == set(ids)
    report = where(lambda: blocking.export_calls(source, tmp_path / "calls.jsonl"))
    assert report.records == len(ids)
    runs = where(blocking.list_run_tests)
    assert source.run_test_id in {run.id for run in runs}
    executions = where(lambda: blocking.list_test_executions(runs[0].id))
    assert executions[0].run_test_id == runs[0].id
    agents = where(blocking.list_agent_definitions)
    assert where(lambda: blocking.list_agent_versions(agents[0].id))
    kpis = where(lambda: blocking.get_kpis(environment.test_execution_ids[0]))
    assert kpis.total_calls is not None
    call_id = environment.call_execution_ids()[0]
    assert where(lambda: blocking.get_call_execution(call_id)).id == call_id


@WHERE
def test_errors_arrive_as_they_are(environment: StandInServer, where: Any) -> None:
    """An error of the server, and one of an argument, are not wrapped on their way out of the loop."""
    with pytest.raises(NotFoundError):
        where(lambda: blocking.get_kpis(UNKNOWN_ID))
    with pytest.raises(ValueError, match="did you mean 'status'"):
        where(lambda: blocking.fetch_table([], columns=["staus"]))
    environment.fail(status=401, times=100)
    with pytest.raises(AuthenticationError):
        where(blocking.list_run_tests)


@WHERE
def test_one_session_for_several_reads(served: StandInServer, where: Any) -> None:
    """A session that is given to run is opened once, and closed."""
    session = make_session(served)

    async def read(session: Session) -> tuple[Any, Any]:
        (first, *_) = await session.list_test_executions(served.run_test_ids[1])
        return first, await fetch_table(session, first.calls())

    first, table = where(lambda: blocking.run(read, session))
    assert sorted(table.calls["id"].to_pylist()) == sorted(served.test_execution_rows(first.id))
    with pytest.raises(SessionMisuseError, match="closed"):
        asyncio.run(read(session))
    with pytest.raises(SessionMisuseError):
        where(lambda: blocking.run(read, session))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Hear Ctrl+C, which a job in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@WHERE
@pytest.mark.usefixtures("interruptible")
def test_an_interruption_cancels_the_read(served: StandInServer, where: Any) -> None:
    """Ctrl+C ends what is under way before it arrives."""
    served.stall(times=1_000)
    ended: list[str] = []
    main = threading.main_thread().ident
    assert main is not None

    async def read(session: Session) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.fetch_calls, TestExecutionCalls(served.test_execution_ids[0]))
                while not served.in_flight:  # noqa: ASYNC110 - the server is in another thread
                    await anyio.sleep(0.001)
                while True:  # a signal just before a thread begins to wait is heard with the next one
                    signal.pthread_kill(main, signal.SIGINT)
                    await anyio.sleep(2)
        finally:
            ended.append("cancelled")

    with pytest.raises(KeyboardInterrupt):
        where(lambda: blocking.run(read, make_session(served)))
    assert ended == ["cancelled"]


def test_a_missing_key_is_told_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys in the environment, the error is the session's own."""
    monkeypatch.delenv("FI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="FI_API_KEY"):
        blocking.list_run_tests()


@pytest.mark.parametrize("name", [name for name in blocking.__all__ if name != "run"])
def test_signatures_are_those_without_a_session(name: str) -> None:
    """help() shows the arguments of the async function but for the session, and its docstring."""
    function = getattr(blocking, name)
    names = list(inspect.signature(function).parameters)
    assert not {"self", "session"} & set(names)
    assert names or name == "list_agent_definitions"
    assert function.__doc__
