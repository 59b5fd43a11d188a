"""What exporting calls costs beyond writing the same bytes, or the same columns, to a file.

Run ``python -m benchmarks.export_records``. Pages are read and decoded beforehand; all sides write to the
same directory and bring their files onto the disk. CPU includes the system's share, and all threads.
"""

import asyncio
import io
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import pyarrow as pa

from benchmarks import ours
from benchmarks.pages import VOICE, make_page
from benchmarks.rounds import Figure, Run, interleave, print_table, read_rounds
from futureagi_async import CallExecution, CallPage, FetchReport, SourceReport, export_calls
from futureagi_async._sansio.decoding import decode_record
from futureagi_async._sansio.endpoints import RUN_TEST_CALLS
from futureagi_async.export.formats.arrow_columns import CallColumns
from futureagi_async.export.formats.arrow_evaluations import evaluations_batch
from futureagi_async.export.formats.arrow_turns import transcript_column
from futureagi_async.export.formats.arrow_types import array, arrow_type, json_array
from futureagi_async.export.formats.details import evaluations_of, extra_of, fields_of, json_of, wires_of
from futureagi_async.export.formats.origins import Origins
from futureagi_async.export.formats.parquet import Table
from futureagi_async.export.formats.schema import CALLS, EVALUATIONS, JSON_PARTS, SCALARS, Kind
from futureagi_async.export.formats.writers import EvaluationColumns, open_writer

LINES_GOAL = 1.3
PARQUET_GOAL = 1.3
PAGES = 20
ROWS = 100
_BUFFER_BYTES = 256 * 1024
_BATCH = 1_000

WRITING = "writing prebuilt record batches"


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
            yield _Step(page, mark=b"%d" % number)

    def restore(self, raw: bytes, _index: int) -> CallExecution:
        """Decode a record again."""
        return decode_record(raw, ours.SOURCE, RUN_TEST_CALLS)


@attrs.define(frozen=True)
class _Step:
    page: CallPage
    mark: bytes
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
    """Compare the tables with writing columns that are there already, codec and row groups the same."""
    calls = [call for page in session.read for call in page.calls]
    noted = EvaluationColumns()
    for call in calls:
        noted.note(call)

    def write(format_: str, file: BinaryIO, **options: Any) -> None:
        writer = open_writer(format_, file, sources=[ours.SOURCE], **options)
        for page in session.read:
            writer.write(page.calls)
        writer.close()

    def write_both(file: BinaryIO) -> None:
        write_synced(folder / "evaluations.parquet", lambda side: write("parquet", file, side_file=side))

    batches, long_batches = prebuilt(calls)

    def write_prebuilt(file: BinaryIO) -> None:
        write_batches(batches, CALLS, file)
        write_synced(folder / "other.parquet", partial(write_batches, long_batches, EVALUATIONS))

    target = folder / "calls.table"
    rivals: dict[str, Run] = {
        WRITING: partial(write_synced, target, partial(write_batches, batches, CALLS)),
        "Parquet": partial(write_synced, target, partial(write, "parquet")),
        "prebuilt, evaluations too": partial(write_synced, target, write_prebuilt),
        "Parquet, evaluations too": partial(write_synced, target, write_both),
        "CSV": partial(write_synced, target, partial(write, "csv", evaluations=noted.columns())),
        "JSON Lines, normalised": partial(write_synced, target, partial(write, "jsonl", normalised=True)),
    }
    yield from compare(rivals, {"Parquet": PARQUET_GOAL}, rounds, units=len(calls))


def prebuilt(calls: Sequence[CallExecution]) -> tuple[list[Any], list[Any]]:
    """Build the record batches of both tables."""
    batches, long_batches = [], []
    calls_table, long_table = Table(io.BytesIO(), CALLS), Table(io.BytesIO(), EVALUATIONS)
    for start in range(0, len(calls), _BATCH):
        columns = CallColumns(calls[start : start + _BATCH], Origins([ours.SOURCE]), pa)
        long_batches.append(evaluations_batch(columns, long_table.schema, pa))
        batches.append(columns.batch(calls_table.schema))
    return batches, long_batches


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
    calls = [call for page in session.read for call in page.calls]
    fields = list(map(fields_of, calls))
    wires = list(map(wires_of, calls, fields))
    texts = [[json_of(each, name) for each in fields] for name in JSON_PARTS]
    extras = list(map(extra_of, fields))
    batches, _ = prebuilt(calls)
    turns = arrow_type(pa, "turns")
    plain: dict[str, Kind] = {name: kind for name, kind in SCALARS.items() if name != "scenario_name"}

    def make_scalars() -> None:
        for name, kind in plain.items():
            array(pa, [getattr(call, name) for call in calls], kind)

    def make_texts() -> None:
        for column in (*texts, extras):
            json_array(pa, column)

    steps: dict[str, Run] = {
        WRITING: lambda: write_batches(batches, CALLS, io.BytesIO()),
        "cutting records into their values": lambda: list(map(fields_of, calls)),
        "decoding transcripts": lambda: list(map(wires_of, calls, fields)),
        "turns to columns": lambda: transcript_column(pa, wires, turns),
        "scalars to columns": make_scalars,
        "taking out JSON texts": lambda: [[json_of(each, name) for each in fields] for name in JSON_PARTS],
        "joining what is extra": lambda: list(map(extra_of, fields)),
        "JSON texts to columns": make_texts,
        "decoding evaluations (for their table)": lambda: list(map(evaluations_of, calls, fields)),
    }
    yield from compare(steps, {}, rounds, units=len(calls))


def compare(rivals: dict[str, Run], goals: dict[str, float], rounds: int, units: int) -> Iterator[Figure]:
    """Measure rivals against the first one."""
    timings = interleave(rivals, rounds=rounds)
    first = next(iter(rivals))
    for name in rivals:
        each = timings.microseconds(name, units=units)
        yield Figure(f"{name} ({each:.1f} µs a record)", timings.ratio(name, first), goals.get(name))


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
