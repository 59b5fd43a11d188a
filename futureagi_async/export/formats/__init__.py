"""The formats of an export: how to open a writer of each, and what that needs."""

import gzip
import sys
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, cast

from futureagi_async.errors import ExportError
from futureagi_async.sources import CallSource

if TYPE_CHECKING:
    from futureagi_async.export.formats.csv_writer import EvaluationColumn
    from futureagi_async.export.formats.projection import Projection
    from futureagi_async.export.formats.records import Batch

FORMATS: Final = ("jsonl", "csv", "parquet")


class Writer(Protocol):
    """Writes records into a file."""

    @property
    def misfits(self) -> int:
        """Calls written so far whose ``misfits`` are filled: with what other columns can't hold, as sent."""
        ...

    def write(self, batch: "Batch") -> None:
        """Append records."""
        ...

    def close(self) -> None:
        """Write what the format needs at its end; the file stays open, for whoever opened it."""
        ...


def open_writer(
    format: str,  # noqa: A002 - the word users look for
    file: BinaryIO,
    *,
    sources: Iterable[CallSource | None] = (),
    normalised: bool = False,
    evaluations: "Sequence[EvaluationColumn]" = (),
    side_file: BinaryIO | None = None,
    projection: "Projection | None" = None,
) -> Writer:
    """Begin a file of calls. Errors of writing to it are its own `OSError`.

    Args:
        format: One of `FORMATS`.
        file: Where to write; with `compressed` around it for all but Parquet, if wanted.
        sources: Those of the export, in the order given: each call names the place of its own.
        normalised: For JSON Lines: in our names and units instead of as sent.
        evaluations: For CSV: those that become columns, from `EvaluationColumns`. Others are left to the
            column ``eval_outputs``.
        side_file: For Parquet: where the long table of evaluations goes.
        projection: Which columns to write; by default all. Records as sent have none.

    """
    # imported here, so that importing the package does not wait for formats that nobody asked for
    from futureagi_async.export.formats.projection import WHOLE

    projection = projection or WHOLE
    if format == "jsonl":
        from futureagi_async.export.formats.jsonl import LinesWriter, NormalisedWriter

        if not normalised:
            return LinesWriter(file)
        return NormalisedWriter(file, sources=sources, projection=projection)
    if format == "csv":
        from futureagi_async.export.formats.csv_writer import CsvWriter

        return CsvWriter(file, sources=sources, evaluations=evaluations, projection=projection)
    if format == "parquet":
        from futureagi_async.export.formats.parquet import ParquetWriter

        return ParquetWriter(file, sources=sources, side_file=side_file, projection=projection)
    raise ValueError(f"format must be one of {', '.join(map(repr, FORMATS))}, not {format!r}.")


def check_installed(format: str, compression: str | None = None) -> None:  # noqa: A002
    """Raise `ExportError` where a format or a compression needs a library that is not installed."""
    if format == "parquet":
        _check_parquet()
    if compression is not None:
        check_compression(compression)


def _check_parquet() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ExportError("Parquet needs pyarrow: pip install 'pyarrow>=17'.") from error


COMPRESSIONS: Final = (".gz", ".zst")

_GZIP_LEVEL = 6  # of the tool itself; Python's 9 takes twice the time for a hundredth of the size


def compressed(file: BinaryIO, ending: str) -> BinaryIO:
    """Return a file that compresses into ``file``; closing it finishes the stream and leaves ``file`` open.

    The same bytes written give the same bytes out: no name and no time is put into the header. Raises
    `ModuleNotFoundError` where zstd is not installed.
    """
    if ending == ".gz":
        made = gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=file, mtime=0)
        return cast(BinaryIO, made)
    if ending == ".zst":
        return cast(BinaryIO, _zstd().ZstdFile(file, "wb"))
    raise ValueError(f"ending must be one of {', '.join(map(repr, COMPRESSIONS))}, not {ending!r}.")


def check_compression(ending: str) -> None:
    """Raise `ExportError` where the library that an ending needs is not installed."""
    try:
        if ending == ".zst":
            _zstd()
    except ImportError as error:
        raise ExportError(f"{ending} needs backports.zstd: pip install 'backports.zstd>=1'.") from error


def open_decompressed(path: Path) -> BinaryIO:
    """Open a file for reading what was written into it, by its ending."""
    ending = path.suffix.lower()
    if ending == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if ending == ".zst":
        return cast(BinaryIO, _zstd().open(path, "rb"))
    return path.open("rb")


def decompression_faults(path: Path) -> tuple[type[Exception], ...]:
    """Return what reading a file raises whose compression is broken, besides `OSError`."""
    return (EOFError, _zstd().ZstdError) if path.suffix.lower() == ".zst" else (EOFError, zlib.error)


def _zstd() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
