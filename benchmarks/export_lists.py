"""What a whole export costs beyond reading its lists and writing something that is ready.

Run ``python -m benchmarks.export_lists``. A list of the stand-in, which runs in another process, is read
and written by turns: by hand, as the bytes that arrive or as record batches that were made before; and by
`export_calls`, with all that makes it complete, resumable and checked. CPU includes the system's share,
and all threads; each turn has a process of its own, which has exported a shorter list before.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import attrs
import pyarrow as pa
from pyarrow import parquet

from benchmarks.export_records import write_batches, write_synced
from benchmarks.rounds import Figure, print_table, read_rounds
from futureagi_async import RunTestCalls, Session, export_calls
from futureagi_async.export.formats.schema import CALLS
from futureagi_async.testing import StandInServer

RECORDS = 100_000
FEW = 2_000
GOAL, PARQUET_GOAL = 1.5, 1.4
NORMALISED = "normalised.jsonl"
_BATCH = 1_000
_BUFFER_BYTES = 256 * 1024


@attrs.define(frozen=True)
class Way:
    """One way to write a list."""

    name: str
    by: str
    """The function here that does it."""
    target: str
    against: str | None = None
    goal: float | None = None


BY_HAND = Way("read, and write the bytes", "write_bytes", "bytes.jsonl")
PREBUILT = Way("read, and write prebuilt record batches", "write_prebuilt", "ready.parquet")
PARQUET = Way("export_calls, Parquet", "export", "calls.parquet", PREBUILT.name, PARQUET_GOAL)
WAYS = (
    BY_HAND,
    Way("export_calls, JSON Lines", "export", "calls.jsonl", BY_HAND.name, GOAL),
    Way("export_calls, JSON Lines in parts with SHA-256", "export", "lines", BY_HAND.name),
    PREBUILT,
    PARQUET,
    Way("export_calls, Parquet in parts, evaluations too", "export", "tables", PREBUILT.name),
    Way("export_calls, CSV, against Parquet", "export", "calls.csv", PARQUET.name, GOAL),
    Way("export_calls, normalised lines, against Parquet", "export", NORMALISED, PARQUET.name, GOAL),
)


async def write_bytes(session: Session, source: RunTestCalls, target: Path) -> None:
    """Write records as they arrive, a line each."""
    with target.open("wb", _BUFFER_BYTES) as file:
        async with session.stream_calls(source) as stream:
            async for page in stream.pages():
                file.writelines(b"%b\n" % call.raw for call in page.calls)
        file.flush()
        os.fsync(file.fileno())


async def export(session: Session, source: RunTestCalls, target: Path) -> None:
    """Export; a directory of tables and normalised lines by their names."""
    format_ = "parquet" if target.name == "tables" else None
    report = await export_calls(session, source, target, format=format_, normalised=target.name == NORMALISED)
    assert report.complete


async def write_prebuilt(
    session: Session, source: RunTestCalls, target: Path, *, ready: list[pa.RecordBatch]
) -> None:
    """Read everything, and write as many calls that are columns already."""
    calls = 0
    async with session.stream_calls(source) as stream:
        async for page in stream.pages():
            calls += len(page.calls)
    batches = list(islice(cycle(ready), calls // _BATCH))
    write_synced(target, partial(write_batches, batches, CALLS))


async def measure(order: dict[str, str]) -> float:
    """Return the CPU seconds of one turn."""
    folder, source = Path(order["folder"]), RunTestCalls(order["run_test"])
    async with Session(order["api_key"], order["secret_key"], order["base_url"], max_in_flight=8) as session:
        few = RunTestCalls(order["few"])
        for name in ("few.jsonl", "few.parquet", "few"):
            await export(session, few, folder / name)
        work: Callable[[Session, RunTestCalls, Path], Awaitable[None]] = globals()[order["by"]]
        if order["by"] == "write_prebuilt":
            table = parquet.read_table(folder / "few.parquet").combine_chunks()
            work = partial(write_prebuilt, ready=table.to_batches(_BATCH))
        began = time.process_time()
        await work(session, source, folder / order["target"])
        return time.process_time() - began


def turn(way: Way, server: StandInServer, lists: dict[str, str]) -> float:
    """Let a fresh process take a turn."""
    with tempfile.TemporaryDirectory() as folder:
        order = {
            "api_key": server.api_key,
            "secret_key": server.secret_key,
            "base_url": server.base_url,
            "folder": folder,
            **lists,
            **attrs.asdict(way),
        }
        command = [sys.executable, "-m", "benchmarks.export_lists", "--turn", json.dumps(order)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def figures(rounds: int, *, slim: bool, records: int) -> Iterator[Figure]:
    """Measure all ways in turn, some rounds."""
    seconds: dict[str, list[float]] = {way.name: [] for way in WAYS}
    with StandInServer(demo=False) as server:
        lists = {
            "run_test": server.add_run_test(records, slim=slim),
            "few": server.add_run_test(FEW, slim=slim),
        }
        turn(BY_HAND, server, lists)  # the stand-in makes up its rows when they are first asked for
        for number in range(rounds):
            for way in WAYS[number:] + WAYS[:number]:
                seconds[way.name].append(turn(way, server, lists))
                server.clear_requests()
    for way in WAYS:
        each = median(seconds[way.name]) / records * 1e6
        pairs = zip(seconds[way.name], seconds[way.against or way.name], strict=True)
        yield Figure(f"{way.name} ({each:.0f} µs a record)", median(a / b for a, b in pairs), way.goal)


def main() -> None:
    """Print the tables, or take a turn where one is given."""
    if "--turn" in sys.argv:
        print(asyncio.run(measure(json.loads(sys.argv[-1]))))
        return
    rounds = read_rounds(__doc__, default=3)
    print_table(
        "100,000 calls through the stand-in, 0.4 kB a record, CPU",
        figures(rounds, slim=True, records=RECORDS),
    )
    print_table(
        "10,000 calls through the stand-in, 4.2 kB a record, CPU",
        figures(rounds, slim=False, records=RECORDS // 10),
    )


if __name__ == "__main__":
    main()
