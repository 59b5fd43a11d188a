"""What exporting calls costs beyond writing the same bytes, or the same columns, to a file.

Run ``python -m benchmarks.export_records``. Pages are read and decoded beforehand; all sides write to the
same directory and bring their files onto the disk. CPU includes the system's share, and all threads.
"""

import asyncio
import io
import json
import os
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import attrs
import orjson
import pyarrow as pa
from pyarrow import json as arrow_json
from pyarrow import parquet

from benchmarks import ours
from benchmarks.pages import VOICE, make_page
from benchmarks.rounds import Figure, Run, interleave, print_table, read_rounds
from futureagi_async import CallExecution, CallPage, FetchReport, SourceReport, export_calls
from futureagi_async._sansio.decoding import decode_record
from futureagi_async._sansio.requests import RUN_TEST_CALLS
from futureagi_async.export.formats import open_writer
from futureagi_async.export.formats.arrow_arrays import arrow_schema, arrow_type, evaluations_batch
from futureagi_async.export.formats.arrow_batches import BatchMaker, in_order
from futureagi_async.export.formats.arrow_fast import FastColumns
from futureagi_async.export.formats.csv_writer import EvaluationColumns
from futureagi_async.export.formats.parquet import Table
from futureagi_async.export.formats.records import Batch
from futureagi_async.export.formats.row_schemas import RowSchemas
from futureagi_async.export.formats.schema import CALLS, EVALUATIONS

LINES_GOAL = 1.3
PARQUET_GOAL = 1.5
TEXT_GOAL = 1.5
PAGES = 20
ROWS = 100
_BUFFER_BYTES = 256 * 1024
_BATCH = 250

_ONE_THREAD = arrow_json.ReadOptions(use_threads=False, block_size=16 * 1024**2)

WRITING = "writing prebuilt record batches"
CSV, NORMALISED = "CSV, against Parquet", "JSON Lines, normalised, against Parquet"


@attrs.define(frozen=True)
class ReadBefore:
    """Stands in for a session whose pages are here already."""

    read: list[CallPage]

    @property
    def report(self) -> FetchReport:
        """Say that this is everything."""
        rows = sum(len(page.calls) for page in self.read)
        everything = SourceReport(
            source=ours.SOURCE, verdict="complete", reason="read before", expected=rows, received=rows
        )
        return FetchReport((everything,))

    @asynccontextmanager
    async def stream_calls(self, *_: object, **__: object) -> AsyncIterator[Any]:
        """Open a stream of the pages."""
        yield self

    async def pages(self) -> AsyncIterator[CallPage]:
        """Yield the pages."""
        for page in self.read:
            yield page

    async def steps(self) -> AsyncIterator[Any]:
        """Yield the pages as steps of the only source."""
        for number, page in enumerate(self.read):
            yield _Step(page, checkpoint=b"%d" % number)

    def restore(self, raw: bytes, _index: int) -> CallExecution:
        """Decode a record again."""
        return decode_record(raw, ours.SOURCE, RUN_TEST_CALLS)


@attrs.define(frozen=True)
class _Step:
    page: CallPage
    checkpoint: bytes
    index: int = 0
    newer: tuple[CallExecution, ...] = ()


def write_synced(target: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, and bring it onto the disk."""
    with target.open("wb", _BUFFER_BYTES) as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def line_figures(session: ReadBefore, folder: Path, rounds: int) -> Iterator[Figure]:
    """Compare both ways of `export_calls` with plain writing."""
    records = [call.raw for page in session.read for call in page.calls]
    exported, plain = folder / "calls.jsonl", folder / "lines.jsonl"
    with asyncio.Runner() as runner:

        def export(*, include_provider_data: bool) -> None:
            runner.run(
                export_calls(session, ours.SOURCE, exported, include_provider_data=include_provider_data)
            )

        def write(file: BinaryIO) -> None:
            file.writelines(b"%b\n" % record for record in records)

        rivals: dict[str, Run] = {
            "writing the bytes": partial(write_synced, plain, write),
            "export_calls": partial(export, include_provider_data=False),
            "export_calls, include_provider_data": partial(export, include_provider_data=True),
        }
        yield from compare(rivals, {"export_calls": LINES_GOAL}, rounds, units=len(records))
    assert exported.read_bytes() == plain.read_bytes()


def table_figures(session: ReadBefore, folder: Path, rounds: int) -> Iterator[Figure]:
    """Compare tables, made of staged bytes, with writing columns that are there already, codec the same."""
    calls = [call for page in session.read for call in page.calls]
    noted = EvaluationColumns()
    for call in calls:
        noted.note(call)
    staged = stage(calls)

    def write(format_: str, file: BinaryIO, **options: Any) -> None:
        writer = open_writer(format_, file, sources=[ours.SOURCE], **options)
        for batch in staged:
            writer.write(batch)
        writer.close()

    def write_both(file: BinaryIO) -> None:
        write_synced(folder / "evaluations.parquet", lambda side: write("parquet", file, side_file=side))

    batches, long_batches = prebuilt(staged)

    def write_prebuilt(file: BinaryIO) -> None:
        write_batches(batches, CALLS, file)
        write_synced(folder / "other.parquet", partial(write_batches, long_batches, EVALUATIONS))

    raws = [call.raw for call in calls]
    lines = folder / "staged.jsonl"
    lines.write_bytes(b"".join(b"%b\n" % raw for raw in raws))

    def read_by_arrow(file: BinaryIO) -> None:
        table = arrow_json.read_json(lines, _ONE_THREAD)
        parquet.write_table(table, file, compression="zstd")

    target = folder / "calls.table"
    rivals: dict[str, Run] = {
        WRITING: partial(write_synced, target, partial(write_batches, batches, CALLS)),
        "Parquet": partial(write_synced, target, partial(write, "parquet")),
        "prebuilt, evaluations too": partial(write_synced, target, write_prebuilt),
        "Parquet, evaluations too": partial(write_synced, target, write_both),
        "orjson.loads, nothing kept": lambda: deque(map(orjson.loads, raws), maxlen=0),
        "Arrow's own JSON reader, and its columns written": partial(write_synced, target, read_by_arrow),
        CSV: partial(write_synced, target, partial(write, "csv", evaluations=noted.columns())),
        NORMALISED: partial(write_synced, target, partial(write, "jsonl", normalised=True)),
    }
    goals = {"Parquet": PARQUET_GOAL, CSV: TEXT_GOAL, NORMALISED: TEXT_GOAL}
    against = dict.fromkeys((CSV, NORMALISED), "Parquet")
    yield from compare(rivals, goals, rounds, units=len(calls), against=against)


def stage(calls: Sequence[CallExecution]) -> list[Batch]:
    """Return the calls as they lie in the stage files, some at a time."""
    raws = [call.raw for call in calls]
    return [staged_batch(raws[start : start + _BATCH]) for start in range(0, len(raws), _BATCH)]


def staged_batch(raws: Sequence[bytes]) -> Batch:
    """Return records as the writers take them."""

    def restore(place: int) -> CallExecution:
        return decode_record(raws[place], ours.SOURCE, RUN_TEST_CALLS)

    return Batch(raws, [ours.SOURCE] * len(raws), restore)


def prebuilt(staged: Sequence[Batch]) -> tuple[list[Any], list[Any]]:
    """Build the record batches of both tables."""
    maker = BatchMaker(pa, [ours.SOURCE], evaluations=True)
    made = list(map(maker.make, staged))
    batches = [rows for pieces in made for rows in in_order(pa, pieces.calls)]
    return batches, [rows for pieces in made for rows in in_order(pa, pieces.evaluations)]


def write_batches(batches: Sequence[Any], columns: Any, file: BinaryIO) -> None:
    """Write record batches as a Parquet file like ours."""
    table = Table(file, columns)
    for batch in batches:
        table.append(batch)
    table.close()


def with_few_evaluations(body: bytes) -> bytes:
    """Give all rows of a page the same evaluations, as the calls of one test have."""
    page = json.loads(body)
    for row in page["results"]:
        for part in ("eval_outputs", "eval_metrics"):
            outputs = row[part].values()
            row[part] = {f"00000000-0000-4000-8000-{place:012}": each for place, each in enumerate(outputs)}
    return json.dumps(page, ensure_ascii=False, separators=(",", ":")).encode()


def share_figures(session: ReadBefore, rounds: int) -> Iterator[Figure]:
    """Show where the rest goes: each step of making columns, as a share of writing them."""
    staged = stage([call for page in session.read for call in page.calls])
    batches, long_batches = prebuilt(staged)
    schema = arrow_schema(pa, EVALUATIONS)
    turns = arrow_type(pa, "turns")
    schemas = RowSchemas()
    (sorted_rows,) = zip(*(schemas.sort(batch.raws)[0] for batch in staged), strict=True)
    pairs = list(zip(sorted_rows, staged, strict=True))
    columns = [FastColumns(rows, batch, pa) for rows, batch in pairs]
    evaluations = [each.evaluations() for each in columns]

    def make_evaluations() -> None:
        for calls, found in zip(batches, evaluations, strict=True):
            evaluations_batch(pa, calls, found, schema)

    steps: dict[str, Run] = {
        WRITING: lambda: write_batches(batches, CALLS, io.BytesIO()),
        "decoding records": lambda: [schemas.sort(batch.raws) for batch in staged],
        "their values by column": lambda: [FastColumns(rows, batch, pa) for rows, batch in pairs],
        "scalars to columns": lambda: [(each.plain_columns(), each.scenario_columns()) for each in columns],
        "turns to columns": lambda: [each.transcript_column(turns) for each in columns],
        "JSON texts to columns": lambda: [each.json_columns() for each in columns],
        "decoding evaluations (for their table)": lambda: [each.evaluations() for each in columns],
        "evaluations to columns": make_evaluations,
        "writing them": lambda: write_batches(long_batches, EVALUATIONS, io.BytesIO()),
    }
    yield from compare(steps, {}, rounds, units=sum(len(batch.raws) for batch in staged))


def compare(
    rivals: dict[str, Run],
    goals: dict[str, float],
    rounds: int,
    units: int,
    against: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Figure]:
    """Measure rivals against the first one, or against another."""
    timings = interleave(rivals, rounds=rounds)
    first = next(iter(rivals))
    for name in rivals:
        each = timings.microseconds(name, units=units)
        ratio = timings.ratio(name, against.get(name, first))
        yield Figure(f"{name} ({each:.1f} µs a record)", ratio, goals.get(name))


def main() -> None:
    """Print the tables."""
    rounds = read_rounds(__doc__, default=15)
    bodies = (with_few_evaluations(make_page(VOICE, rows=ROWS, seed=seed)) for seed in range(PAGES))
    session = ReadBefore(list(map(ours.decode, bodies)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print_table("JSON Lines, 9.8 kB a record, CPU", line_figures(session, folder, rounds))
        print_table("Tables, 9.8 kB a record, CPU", table_figures(session, folder, rounds))
    print_table("Where the rest goes, of one batch in memory", share_figures(session, rounds))


if __name__ == "__main__":
    main()
