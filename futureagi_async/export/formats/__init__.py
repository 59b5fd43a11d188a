"""The formats of an export: opens a writer for each, and checks the needed libraries."""

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
    """Writes records to a file."""

    @property
    def misfits(self) -> int:
        """The number of written calls with ``misfits``: values as sent that other columns can't hold."""
        ...

    def write(self, batch: "Batch") -> None:
        """Append records."""
        ...

    def close(self) -> None:
        """Write the end of the format. The caller must close the file itself."""
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
    """Return a writer for a new file of calls. Errors of the file are raised as its own `OSError`.

    Args:
        format: One of `FORMATS`.
        file: The file to write, for all formats but Parquet optionally with `compressed` around it.
        sources: The sources of the export in their order. Each call names the place of its source.
        normalised: For JSON Lines: documented names and units, instead of records as sent.
        evaluations: For CSV: the evaluations that become columns, from `EvaluationColumns`. Others are only
            in the column ``eval_outputs``.
        side_file: For Parquet: the file for the long table of evaluations.
        projection: The columns to write. Default: all. Records as sent have no columns.

    """
    # imported here, so that an import of the package does not load unused formats
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
    """Raise `ExportError` if a format or a compression needs a library that is not installed."""
    if format == "parquet":
        _check_parquet()
    if compression is not None:
        check_compression(compression)


def _check_parquet() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ExportError(
            "Parquet needs pyarrow (the extra [parquet]): pip install 'pyarrow>=17'."
        ) from error


COMPRESSIONS: Final = (".gz", ".zst")

_GZIP_LEVEL = 6  # the default of gzip itself; Python's default 9 takes twice the time for 1 % less size


def compressed(file: BinaryIO, ending: str) -> BinaryIO:
    """Return a file that compresses into ``file``. Closing it ends the stream, and leaves ``file`` open.

    The same input gives the same bytes, because the header has no name and no time. Raises
    `ModuleNotFoundError` if zstd is not installed.
    """
    if ending == ".gz":
        made = gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=file, mtime=0)
        return cast(BinaryIO, made)
    if ending == ".zst":
        return cast(BinaryIO, _zstd().ZstdFile(file, "wb"))
    raise ValueError(f"ending must be one of {', '.join(map(repr, COMPRESSIONS))}, not {ending!r}.")


def check_compression(ending: str) -> None:
    """Raise `ExportError` if the library for an ending is not installed."""
    try:
        if ending == ".zst":
            _zstd()
    except ImportError as error:
        raise ExportError(
            f"{ending} needs backports.zstd (the extra [zstd]): pip install 'backports.zstd>=1'."
        ) from error


def open_decompressed(path: Path) -> BinaryIO:
    """Open a file to read its content, decompressed by its ending."""
    ending = path.suffix.lower()
    if ending == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if ending == ".zst":
        return cast(BinaryIO, _zstd().open(path, "rb"))
    return path.open("rb")


def decompression_faults(path: Path) -> tuple[type[Exception], ...]:
    """Return the errors besides `OSError` that reading a file with broken compression raises."""
    return (EOFError, _zstd().ZstdError) if path.suffix.lower() == ".zst" else (EOFError, zlib.error)


def _zstd() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
