"""Runs a command: the event loop, Ctrl-C and the exit codes."""

import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

from futureagi_async.cli.streams import open_stdout, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

T = TypeVar("T")

_STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class ExitCode(IntEnum):
    """The exit codes of all commands."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    BROKEN = 4
    TIMED_OUT = 124
    INTERRUPTED = 130


def failure_code(error: BaseException) -> ExitCode:
    """Return the exit code for an error of the library. A library that is not installed counts as usage."""
    return ExitCode.USAGE if isinstance(error.__cause__, ImportError) else ExitCode.FAILED


class StoppedBySignalError(Exception):
    """The user pressed Ctrl-C, closed the terminal, or sent a termination signal."""


def run_async(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work``. Ctrl-C cancels it, waits for its cleanup, and raises `StoppedBySignalError`."""
    import anyio

    return anyio.run(_until_stopped, work)


async def _until_stopped(work: Callable[[], Awaitable[T]]) -> T:
    import anyio

    with anyio.CancelScope() as scope, _on_stop(scope.cancel):
        return await work()
    raise StoppedBySignalError


@contextmanager
def _on_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` for the signals that end a process, except those that the process ignores."""
    import asyncio

    loop = asyncio.get_running_loop()
    heard = [one for one in _STOPS if signal.getsignal(one) is not signal.SIG_IGN]
    try:
        for one in heard:
            loop.add_signal_handler(one, stop)
    except NotImplementedError:  # Windows: rely on KeyboardInterrupt
        heard = []
    try:
        yield
    finally:
        for one in heard:
            loop.remove_signal_handler(one)


def allow_open_files(wanted: int) -> int:
    """Return how many files may be open at once, after raising the limit towards ``wanted`` if allowed."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= wanted:
        return wanted
    raised = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, most))
        return raised
    return allowed


def print_found(
    render: "Callable[[T], RenderableType]", found: T, records: Sequence[bytes], *, as_json: bool
) -> int:
    """Print what was found: laid out for people, or as the JSON that was sent."""
    if as_json:
        for record in records:
            write_json(record)
    else:
        open_stdout().print(render(found))
    return ExitCode.DONE
