"""The formats of an export: how to open a writer of each, and what that needs."""

from collections.abc import Iterable, Sequence
from typing import BinaryIO, Final, Protocol

from futureagi_async.errors import ExportError
from futureagi_async.export.formats.batch import Batch
from futureagi_async.export.formats.compressed import COMPRESSIONS, check_compression, compressed
from futureagi_async.export.formats.evaluation_columns import EvaluationColumn, EvaluationColumns
from futureagi_async.export.formats.ids import read_ids
from futureagi_async.sources import CallSource

__all__ = [
    "COMPRESSIONS",
    "FORMATS",
    "EvaluationColumn",
    "EvaluationColumns",
    "Writer",
    "check_installed",
    "compressed",
    "open_writer",
    "read_ids",
]

FORMATS: Final = ("jsonl", "csv", "parquet")


class Writer(Protocol):
    """Writes staged records into a file."""

    @property
    def misfits(self) -> int:
        """Calls written so far with a value that the format's columns can't hold; it is kept as sent."""
        ...

    def write(self, batch: Batch) -> None:
        """Append records."""
        ...

    def close(self) -> None:
        """Write what the format needs at its end; the file stays open, for whoever opened it."""
        ...


def open_writer(
    format: str,  # noqa: A002 - the word users look for
    file: BinaryIO,
    *,
    sources: Iterable[CallSource] = (),
    normalised: bool = False,
    evaluations: Sequence[EvaluationColumn] = (),
    side_file: BinaryIO | None = None,
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

    """
    # imported here, so that importing the package does not wait for formats that nobody asked for
    if format == "jsonl":
        from futureagi_async.export.formats.line_writers import LinesWriter, NormalisedWriter

        return NormalisedWriter(file, sources=sources) if normalised else LinesWriter(file)
    if format == "csv":
        from futureagi_async.export.formats.csv_file import CsvWriter

        return CsvWriter(file, sources=sources, evaluations=evaluations)
    if format == "parquet":
        from futureagi_async.export.formats.parquet import ParquetWriter

        return ParquetWriter(file, sources=sources, side_file=side_file)
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
        raise ExportError("Parquet needs pyarrow: pip install 'futureagi-async[parquet]'.") from error
