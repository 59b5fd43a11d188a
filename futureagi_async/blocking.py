"""The same reads for code without async: each function opens a session, reads, and closes it.

from futureagi_async import RunTestCalls, blocking
table = blocking.fetch_table(RunTestCalls(run_test_id))     # keys from FI_API_KEY and FI_SECRET_KEY

These functions also work where an event loop is already running, as in a notebook: the read then has its own
loop in its own thread, and the caller waits. In a coroutine of a server this would block all other requests:
await the async functions there. To make several reads with one session, use `run`.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal

from futureagi_async import export, tables
from futureagi_async.session import Session

__all__ = [
    "export_calls",
    "fetch_calls",
    "fetch_table",
    "get_call_execution",
    "get_kpis",
    "list_agent_definitions",
    "list_agent_versions",
    "list_run_tests",
    "list_test_executions",
    "run",
]

T = TypeVar("T")
P = ParamSpec("P")


def run(read: Callable[[Session], Awaitable[T]], session: Session | None = None) -> T:
    """Open a session, call ``read`` with it, close it, and return the result of ``read``.

    An exception of ``read`` is raised unchanged. An interruption (Ctrl+C, or a notebook's stop button)
    cancels ``read`` first.

    Args:
        read: An async function that takes the session, for instance one with several reads.
        session: A session that was not opened yet. Default: ``Session()``, with the environment's keys.

    """
    work = partial(_with_session, read, session or Session())
    if not _loop_is_running():
        return anyio.run(work)
    with start_blocking_portal() as portal:
        return portal.call(work)


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _with_session(read: Callable[[Session], Awaitable[T]], session: Session) -> T:
    async with session:
        return await read(session)


def _blocking(read: Callable[Concatenate[Session, P], Awaitable[T]]) -> Callable[P, T]:
    """Return the same function without its first parameter, the session."""

    @wraps(read)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        async def use(session: Session) -> T:
            return await read(session, *args, **kwargs)

        return run(use)

    signature = inspect.signature(read)
    without_session = list(signature.parameters.values())[1:]
    vars(call)["__signature__"] = signature.replace(parameters=without_session)  # for help()
    call.__module__ = __name__
    return call


fetch_table: Final = _blocking(tables.fetch_table)
export_calls: Final = _blocking(export.export_calls)
fetch_calls: Final = _blocking(Session.fetch_calls)
get_call_execution: Final = _blocking(Session.get_call_execution)
get_kpis: Final = _blocking(Session.get_kpis)
list_run_tests: Final = _blocking(Session.list_run_tests)
list_test_executions: Final = _blocking(Session.list_test_executions)
list_agent_definitions: Final = _blocking(Session.list_agent_definitions)
list_agent_versions: Final = _blocking(Session.list_agent_versions)
