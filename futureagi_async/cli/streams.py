"""What commands print, on standard streams that may be closed, full, or without a reader.

Standard output carries results: where it can't be written, that is an `OutputError`. Standard error is for
people: where it can't be written, nobody is told, and the work goes on.
"""

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import RawIOBase, TextIOWrapper
from typing import TYPE_CHECKING, BinaryIO, TextIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from futureagi_async.cli.formatting import clean, one_line

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_COPY_BYTES = 1024 * 1024


class OutputError(Exception):
    """The standard output can't be written; its text says why."""

    def __init__(self, message: str, *, reader_left: bool) -> None:
        super().__init__(message)
        self.reader_left = reader_left
        """Whether its reader has seen enough, and needs no message."""


def prepare_streams() -> None:
    """Make all three standard streams usable, in any script; on a closed one, writing fails.

    A file must not be opened in the place of a closed one: whatever is printed would go into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - no path
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - no path


class _Guarded(RawIOBase):
    """A standard stream that leaves the system's errors to ``on_error``."""

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
        f"Can't write to the standard output: {error.strerror or error}.",
        reader_left=isinstance(error, BrokenPipeError),
    )


def _ignore(stream: TextIO, _: OSError) -> None:
    _silence(stream)


def _silence(stream: TextIO) -> None:
    """Let a stream lead nowhere, so that Python does not stumble over it again at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _open_text(stream: TextIO, on_error: Callable[[TextIO, OSError], None]) -> TextIOWrapper:
    guarded = _Guarded(stream, on_error)
    return TextIOWrapper(guarded, stream.encoding or "utf-8", "backslashreplace", write_through=True)


def open_stderr() -> Console:
    """Return where people read; what is printed there is taken literally."""
    return Console(file=_open_text(sys.stderr, _ignore), highlight=False, markup=False, emoji=False)


def open_stdout() -> Console:
    """Return where results go; what is printed there is taken literally."""
    return Console(file=_open_text(sys.stdout, _fail), highlight=False, markup=False, emoji=False)


def write_text(text: str) -> None:
    """Write lines for a shell to stdout."""
    _open_text(sys.stdout, _fail).write(text)


def write_json(record: bytes) -> None:
    """Write a JSON text to stdout: byte for byte and a newline, but laid out and harmless on a terminal."""
    out = _Guarded(sys.stdout, _fail)
    if out.isatty():
        import msgspec

        record = clean(msgspec.json.format(record, indent=2).decode(errors="replace")).encode()
    out.write(record + b"\n")


def copy_to_stdout(file: BinaryIO) -> None:
    """Write a file's content to stdout, harmless on a terminal."""
    out = _Guarded(sys.stdout, _fail)
    if out.isatty():
        for line in file:
            out.write(clean(line.decode(errors="replace")).encode())
    else:
        shutil.copyfileobj(file, out, _COPY_BYTES)


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
    print_notice(f"warning: {message}")


def print_error(message: str) -> None:
    """Say on stderr what went wrong."""
    print_notice(f"error: {message}")


def print_notice(message: str) -> None:
    """Say something on stderr, in one paragraph."""
    print_text(open_stderr(), Text(one_line(message)))
