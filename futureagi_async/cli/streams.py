"""Prints to the standard streams, which may be closed, full or without a reader.

Results go to stdout. If stdout can't be written, that raises `OutputError`. Messages for people go to stderr.
If stderr can't be written, the messages are lost and the command continues.
"""

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import RawIOBase, TextIOWrapper
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from futureagi_async.cli.formatting import clean, one_line

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_COPY_BYTES = 1024 * 1024
_UNWRAPPED = 100_000  # columns


class OutputError(Exception):
    """stdout can't be written. The message says why."""

    def __init__(self, message: str, *, reader_left: bool) -> None:
        super().__init__(message)
        self.reader_left = reader_left
        """Whether the reader closed the pipe, so that no message is needed."""


def prepare_streams() -> None:
    """Make the three standard streams usable even if some are closed. Writing to a closed one fails.

    Without this, the next opened file would get the number of a closed stream, and the output would go there.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - no path
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - no path


class _Guarded(RawIOBase):
    """A standard stream that passes each `OSError` to ``on_error``."""

    name = "standard stream"

    def __init__(self, stream: TextIO, on_error: Callable[[TextIO, OSError], None]) -> None:
        super().__init__()
        self._stream = stream
        self._on_error = on_error

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        try:
            self._stream.buffer.write(data)
            self._stream.buffer.flush()
        except OSError as error:
            self._on_error(self._stream, error)
        return memoryview(data).nbytes

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def _fail(stream: TextIO, error: OSError) -> None:
    _silence(stream)
    raise OutputError(
        f"Can't write to stdout: {error.strerror or error}.",
        reader_left=isinstance(error, BrokenPipeError),
    )


def _ignore(stream: TextIO, _: OSError) -> None:
    _silence(stream)


def _silence(stream: TextIO) -> None:
    """Redirect a stream to the null device, so that Python's flush at exit does not fail again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _open_text(stream: TextIO, on_error: Callable[[TextIO, OSError], None]) -> TextIOWrapper:
    guarded = _Guarded(stream, on_error)
    return TextIOWrapper(guarded, stream.encoding or "utf-8", "backslashreplace", write_through=True)


def open_stderr() -> Console:
    """Return a console on stderr. It prints text literally, without markup."""
    return Console(file=_open_text(sys.stderr, _ignore), highlight=False, markup=False, emoji=False)


def open_stdout() -> Console:
    """Return a console on stdout. It prints text literally, without markup."""
    return Console(file=_open_text(sys.stdout, _fail), highlight=False, markup=False, emoji=False)


def open_stdout_unwrapped() -> Console:
    """Return a console on stdout. If that is not a terminal, rows stay on one line, unless COLUMNS is set."""
    console = open_stdout()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNWRAPPED
    return console


def write_text(text: str) -> None:
    """Write lines for a shell to stdout."""
    _open_text(sys.stdout, _fail).write(text)


def write_json(record: bytes) -> None:
    """Write a JSON text and a newline to stdout: unchanged, but indented and safe to show on a terminal."""
    out = _Guarded(sys.stdout, _fail)
    if out.isatty():
        import msgspec

        record = clean(msgspec.json.format(record, indent=2).decode(errors="replace")).encode()
    out.write(record + b"\n")


def copy_to_stdout(file: BinaryIO) -> None:
    """Write the content of a file to stdout, on a terminal without control characters."""
    out = _Guarded(sys.stdout, _fail)
    if out.isatty():
        for line in file:
            out.write(clean(line.decode(errors="replace")).encode())
    else:
        shutil.copyfileobj(file, out, _COPY_BYTES)


def print_text(console: Console, text: Text, *, indent: int = 0) -> None:
    """Print a paragraph: wrapped on a terminal, on one line elsewhere."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, indent), expand=False))
    else:
        console.print(" " * indent, text, sep="", soft_wrap=True)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each `UserWarning` in the block once to stderr, as one line without Python's file and line."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        show_others, seen = warnings.showwarning, set[str]()

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, UserWarning):
                show_others(message, category, *place, **more)
            elif (text := str(message)) not in seen:
                seen.add(text)
                print_warning(text)

        warnings.showwarning = show
        yield


def print_warning(message: str) -> None:
    """Print a warning to stderr."""
    print_notice(f"warning: {message}")


def print_error(message: str) -> None:
    """Print an error to stderr."""
    print_notice(f"error: {message}")


def print_notice(message: str) -> None:
    """Print a message to stderr, in one paragraph."""
    print_text(open_stderr(), Text(one_line(message)))
