"""How a command ends: exit codes, error lines, and Ctrl-C."""

import asyncio
import signal
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import TypeVar

import anyio
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from futureagi_async.cli.formatting import clean, one_line

T = TypeVar("T")


class ExitCode(IntEnum):
    """What a command tells the shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    INTERRUPTED = 130


class UsageError(Exception):
    """The arguments or the environment don't make sense; no request was sent."""


class StoppedBySignalError(Exception):
    """Somebody pressed Ctrl-C or sent a termination signal."""


@contextmanager
def usage_errors(about: str = "") -> Iterator[None]:
    """Turn a library's refusal of an argument into a `UsageError`, ``about`` before its text."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{about}: {error}" if about else str(error)) from error


def open_stderr() -> Console:
    """Return where people read; what is printed there is taken literally."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def open_stdout() -> Console:
    """Return where results go; what is printed there is taken literally."""
    return Console(highlight=False, markup=False, emoji=False)


def write_json(record: bytes) -> None:
    """Write a JSON text and a newline to stdout: byte for byte, but harmless to a terminal."""
    if sys.stdout.isatty():
        record = clean(record.decode(errors="replace")).encode()
    sys.stdout.flush()
    sys.stdout.buffer.write(record + b"\n")
    sys.stdout.buffer.flush()


def print_text(console: Console, text: Text, *, indent: int = 0) -> None:
    """Print a paragraph; where no terminal has an edge, on one line."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, indent), expand=False))
    else:
        console.print(" " * indent, text, sep="", soft_wrap=True)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Say on stderr what the library warns of in the block, each once, without Python's file and line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for message in dict.fromkeys(str(one.message) for one in caught):
                print_warning(message)


def print_warning(message: str) -> None:
    """Say on stderr what may not be as it looks."""
    print_text(open_stderr(), Text(f"warning: {one_line(message)}"))


def print_error(message: str) -> None:
    """Say on stderr what went wrong."""
    print_text(open_stderr(), Text(f"error: {one_line(message)}"))


def run_async(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` to its end; Ctrl-C cancels it, waits for its cleanup, and is `StoppedBySignalError`."""
    return anyio.run(_until_stopped, work)


async def _until_stopped(work: Callable[[], Awaitable[T]]) -> T:
    with anyio.CancelScope() as scope, _on_stop(scope.cancel):
        return await work()
    raise StoppedBySignalError


@contextmanager
def _on_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Have the signals that end a process call ``stop``, but those it was started to ignore."""
    loop = asyncio.get_running_loop()
    heard = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is not signal.SIG_IGN]
    try:
        for one in heard:
            loop.add_signal_handler(one, stop)
    except NotImplementedError:  # Windows: KeyboardInterrupt has to do
        heard = []
    try:
        yield
    finally:
        for one in heard:
            loop.remove_signal_handler(one)


def print_found(
    render: Callable[[T], RenderableType], found: T, records: Sequence[bytes], *, as_json: bool
) -> int:
    """Show what was found: for people, or each record's JSON as it was sent."""
    if as_json:
        for record in records:
            write_json(record)
    else:
        open_stdout().print(render(found))
    return ExitCode.DONE
