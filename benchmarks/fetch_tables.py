"""A long list into a table: wall clock, CPU and memory beside scripts of aiohttp, orjson and pandas.

Run ``python -m benchmarks.fetch_tables`` on Linux. The list, 9.8 kB a call with 14 turns and four
evaluations, is served by another process, which only puts pages together. All make the same columns, ours
as Arrow tables, the scripts as dataframes. One script collects the records and lets
``pandas.json_normalize`` make the columns, as one does in a notebook. The other, written for a long list,
makes its rows by hand as each page arrives and keeps none of the server's dicts. Neither proves that it has
everything; ours reads a sixth of the rows twice for that. They read by turns, each time in a process of its
own. Memory is the most that such a process ever held, interpreter and libraries included.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any, TypeAlias

import attrs

from benchmarks.export_memory import peak_mebibytes
from benchmarks.rounds import Figure, print_table
from benchmarks.servers import Address, serving_list
from futureagi_async import RunTestCalls, Session, fetch_table
from futureagi_async.export.formats.schema import CALLS, JSON_PARTS, SCALARS

CALLS_READ = 25_000
PAGE = 100
IN_FLIGHT = 16

Row: TypeAlias = dict[str, Any]

MILLISECONDS = ("avg_agent_latency", "avg_stop_time_after_interruption")
TIMES = ("timestamp", "created_at", "start_time", "snapshot_timestamp")


@attrs.define(frozen=True)
class Taken:
    """What one read took."""

    wall: float
    cpu: float
    memory: float
    rows: int
    evaluations: int
    duration: float
    """The sum of a column, to see that both read the same."""


async def read_ours(address: Address) -> tuple[int, int, float]:
    """Read with `fetch_table`."""
    import pyarrow.compute as pc

    async with Session(
        address.api_key, address.secret_key, address.base_url, max_in_flight=IN_FLIGHT
    ) as session:
        table = await fetch_table(session, RunTestCalls(address.run_test_id), page_size=PAGE)
    assert table.complete, table.report
    return len(table), table.evaluations.num_rows, pc.sum(table.calls["duration"]).as_py()


async def read_with_pandas(address: Address) -> tuple[int, int, float]:
    """Collect the records, and let pandas make columns of them."""
    import orjson
    import pandas as pd

    records: list[Row] = []
    await read_pages(address, records.extend)
    calls = pd.json_normalize(records, max_level=0)
    for name in calls.columns.intersection(TIMES):
        calls[name] = pd.to_datetime(calls[name], utc=True, format="ISO8601")
    for name in MILLISECONDS:
        calls[name] /= 1000
    for name in calls.columns.intersection(JSON_PARTS):
        calls[name] = calls[name].map(lambda value: None if value is None else orjson.dumps(value).decode())
    calls["transcript"] = calls["transcript"].map(turns_of)
    others = [name for name in calls.columns if name not in KNOWN]
    calls["extra"] = [orjson.dumps(row).decode() for row in calls[others].to_dict("records")]
    calls = calls.assign(source_index=0, source_kind="run_test").reindex(columns=list(CALLS))
    long = pd.DataFrame([row for record in records for row in evaluations_of(record, address, orjson.dumps)])
    return len(calls), len(long), float(calls["duration"].sum())


async def read_by_hand(address: Address) -> tuple[int, int, float]:
    """Make rows of each page as it arrives, and a dataframe of the rows."""
    import orjson
    import pandas as pd

    rows: list[Row] = []
    evaluations: list[Row] = []

    def keep(records: list[Row]) -> None:
        for record in records:
            rows.append(row_of(record, address, orjson.dumps))
            evaluations.extend(evaluations_of(record, address, orjson.dumps))

    await read_pages(address, keep)
    calls = pd.DataFrame(rows, columns=list(CALLS))
    for name in TIMES:
        calls[name] = pd.to_datetime(calls[name], utc=True, format="ISO8601")
    return len(calls), len(pd.DataFrame(evaluations)), float(calls["duration"].sum())


async def read_pages(address: Address, keep: Callable[[list[Row]], None]) -> None:
    """Read all pages, some at a time."""
    import aiohttp
    import orjson

    pages = iter(range(1, CALLS_READ // PAGE + 1))
    async with aiohttp.ClientSession(headers=address.headers) as client:

        async def work() -> None:
            for page in pages:
                async with client.get(address.page_url(page, PAGE)) as response:
                    body = await response.read()
                keep(orjson.loads(body)["results"])

        async with asyncio.TaskGroup() as workers:
            for _ in range(IN_FLIGHT):
                workers.create_task(work())


def turns_of(transcript: list[Row]) -> list[Row]:
    """Return turns under our names."""
    return [
        {
            "role": turn["speaker_role"],
            "content": turn["content"],
            "start_seconds": turn["start_time_seconds"],
            "end_seconds": turn["end_time_seconds"],
        }
        for turn in transcript
    ]


def row_of(record: Row, address: Address, dumps: Callable[[Any], bytes]) -> Row:
    """Return the columns of a call, seconds for milliseconds."""
    row: Row = {"id": record["id"], "source_index": 0, "source_kind": "run_test"}
    row["source_run_test_id"] = address.run_test_id
    for name in SCALARS:
        row[name] = record.get(name)
    for name in MILLISECONDS:
        if row[name] is not None:
            row[name] /= 1000
    row["scenario_name"] = record.get("scenario")
    row["transcript"] = turns_of(record["transcript"])
    for name in JSON_PARTS:
        row[name] = dumps(record[name]).decode() if record.get(name) is not None else None
    row["extra"] = dumps({key: value for key, value in record.items() if key not in KNOWN}).decode()
    return row


KNOWN = {*SCALARS, *JSON_PARTS, "id", "transcript", "scenario", "scenario_id"}


def evaluations_of(record: Row, address: Address, dumps: Callable[[Any], bytes]) -> list[Row]:
    """Return the rows of a call's evaluations."""
    rows: list[Row] = []
    for key, output in record["eval_outputs"].items():
        value = output.get("value")
        rows.append(
            {
                "call_id": record["id"],
                "source_index": 0,
                "source_kind": "run_test",
                "source_run_test_id": address.run_test_id,
                "evaluation_id": key,
                "name": output.get("name"),
                "type": output.get("type"),
                "value": dumps(value).decode(),
                "value_number": value
                if isinstance(value, int | float) and not isinstance(value, bool)
                else None,
                "value_text": value if isinstance(value, str) else None,
                "reason": output.get("reason"),
                "status": output.get("status"),
                "error": output.get("error"),
                "skipped": output.get("skipped"),
                "pending": "value" not in output,
            }
        )
    return rows


OURS, PANDAS, BY_HAND = "fetch_table", "aiohttp + orjson + json_normalize", "aiohttp + orjson + DataFrame"
RIVALS: dict[str, Callable[[Address], Awaitable[tuple[int, int, float]]]] = {
    OURS: read_ours,
    PANDAS: read_with_pandas,
    BY_HAND: read_by_hand,
}


async def measure_here(name: str, base_url: str) -> Taken:
    """Read once in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    rows, evaluations, duration = await RIVALS[name](Address(base_url))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Taken(wall, cpu, peak_mebibytes(), rows, evaluations, duration)


def measure(name: str, base_url: str) -> Taken:
    """Read once in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.fetch_tables", "--read", name, base_url]
    return Taken(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def figures(taken: dict[str, list[Taken]]) -> list[Figure]:
    """Return ours against each script's, round by round: the medians."""

    def ratio(what: str, rival: str) -> float:
        pairs = zip(taken[OURS], taken[rival], strict=True)
        return median(getattr(one, what) / getattr(other, what) for one, other in pairs)

    return [
        *(Figure(f"{words}, {PANDAS}", ratio(what, PANDAS), goal) for what, words, goal in MEASURES),
        *(Figure(f"{words}, {BY_HAND} by hand", ratio(what, BY_HAND)) for what, words, _ in MEASURES),
    ]


MEASURES = (("wall", "wall clock", 0.4), ("cpu", "CPU", 0.4), ("memory", "peak memory", 0.5))


def main() -> None:
    """Print a table, or read where that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--read", nargs=2, metavar=("RIVAL", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(attrs.asdict(asyncio.run(measure_here(*options.read)))))
        return
    taken: dict[str, list[Taken]] = {name: [] for name in RIVALS}
    with serving_list(CALLS_READ) as address:
        for number in range(options.rounds):
            turn = number % len(RIVALS)
            for name in [*RIVALS][turn:] + [*RIVALS][:turn]:
                taken[name].append(measure(name, address.base_url))
    everything = [each for several in taken.values() for each in several]
    assert len({(each.rows, each.evaluations) for each in everything}) == 1, everything
    assert max(each.duration for each in everything) - min(each.duration for each in everything) < 1
    for name, several in taken.items():
        middle = [median(getattr(each, what) for each in several) for what in ("wall", "cpu", "memory")]
        print("{}: {:.2f} s, {:.2f} s of CPU, {:.0f} MiB".format(name, *middle), file=sys.stderr)
    print_table(
        f"fetch_table / a script, {CALLS_READ:,} calls of 9.8 kB and their evaluations", figures(taken)
    )


if __name__ == "__main__":
    main()
