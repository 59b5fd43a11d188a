"""Kills exports at every moment there is, resumes them, and compares with one that was left alone.

``python -m tests.long crash`` kills 100 exports at random moments, and others at each single write, sync,
rename, removal and SQLite commit, in all formats, and prints a table. Exports run in processes of their own
and are killed by SIGKILL. After every kill no unfinished file may stand under a final name; once resumed, the
files must be those of an uninterrupted run, and pages read twice must be no more than were in flight.
"""

import argparse
import asyncio
import functools
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import attrs

from futureagi_async import RunTestCalls, Session, TestExecutionCalls
from futureagi_async.export import export_calls, verify_export
from futureagi_async.testing import StandInServer

CALLS = 1_100  # longer lists are read in pages, shorter ones whole


@attrs.define(frozen=True)
class Way:
    """One way to export."""

    name: str
    target: str
    options: Mapping[str, Any] = attrs.field(factory=dict)
    repeats_bytes: bool = True
    """Whether two exports of a still list give the same bytes."""


WAYS = (
    Way("JSON Lines, one file", "calls.jsonl", repeats_bytes=False),
    Way("JSON Lines, ordered", "calls.jsonl", {"ordered": True}),
    Way("JSON Lines, parts", "out", {"part_rows": 400}, repeats_bytes=False),
    Way("JSON Lines, parts, transcripts", "out", {"transcripts": True, "ordered": True, "part_rows": 400}),
    Way("CSV, ordered", "calls.csv", {"ordered": True}),
    Way("CSV, compressed, ordered", "calls.csv.gz", {"ordered": True}),
    Way("Parquet, parts", "out", {"format": "parquet", "part_rows": 400}, repeats_bytes=False),
)


@attrs.define
class Tally:
    """What the kills of one way came to."""

    kills: int = 0
    exports: int = 0
    identical: int = 0
    partial: int = 0
    """Kills after which something unfinished stood under a final name."""
    read_twice: int = 0
    """The most pages that going on after one kill read again."""


class Stage:
    """A server with still lists, and a way to export them in another process."""

    def __init__(self, server: StandInServer, folder: Path) -> None:
        self.server = server
        self._folder = folder
        self._lists = {
            "run_test": server.add_run_test(CALLS, tie_size=3, slim=True),
            "test_execution": server.add_test_execution(40, slim=True),
        }

    def start(self, way: Way, target: Path, *, die_at: int = 0) -> "Export":
        """Begin to export, in a process that kills itself at a boundary, counted from 1."""
        keys = (self.server.api_key, self.server.secret_key, self.server.base_url)
        return Export(Order(keys, self._lists, str(target), way.options, die_at))

    def finish(self, way: Way, target: Path) -> int:
        """Export to the end; return how many boundaries there were."""
        export = self.start(way, target)
        assert export.wait() == 0, export.exit_code
        return export.boundaries

    def pages_served(self) -> int:
        """Count the pages of lists that were asked for, and forget them."""
        pages = [request for request in self.server.requests if "limit" in request.query]
        self.server.clear_requests()
        return len(pages)

    def new_target(self, way: Way) -> Path:
        """Return where nothing is yet."""
        return Path(tempfile.mkdtemp(dir=self._folder)) / way.target


@attrs.define(frozen=True)
class Reference:
    """An export that was left alone."""

    content: Mapping[str, Any]
    boundaries: int
    seconds: float
    pages: int


def content_of(way: Way, target: Path) -> dict[str, Any]:
    """Return what an export holds: bytes where they repeat, else the records, sorted."""
    files = sorted(target.glob("*-*")) if target.is_dir() else [target]
    if way.repeats_bytes:
        return {path.name: path.read_bytes() for path in files}
    if target.suffix == ".jsonl" or "format" not in way.options:
        return {"lines": sorted(line for path in files for line in path.read_bytes().splitlines())}
    from pyarrow import parquet

    rows = [
        row for path in files if path.name.startswith("calls") for row in parquet.read_table(path).to_pylist()
    ]
    return {"rows": sorted(rows, key=lambda row: (row["source_index"], row["id"]))}


def make_reference(stage: Stage, way: Way) -> Reference:
    """Export once without a kill."""
    target = stage.new_target(way)
    stage.pages_served()
    began = time.monotonic()
    boundaries = stage.finish(way, target)
    return Reference(content_of(way, target), boundaries, time.monotonic() - began, stage.pages_served())


def is_whole(way: Way, target: Path, reference: Reference) -> bool:
    """Whether what stands under final names is all or nothing: a manifest vouches for a directory."""
    if target.is_dir():
        return not (target / "_manifest.json").exists() or verify_export(target).ok
    return not target.exists() or content_of(way, target) == reference.content


def survive(stage: Stage, way: Way, reference: Reference, tally: Tally, kill: Callable[[Path], bool]) -> None:
    """Kill one export, let it go on, and hold the result against the reference."""
    target = stage.new_target(way)
    stage.pages_served()
    killed = kill(target)
    tally.kills += killed
    tally.partial += not is_whole(way, target, reference)
    was_placed = target.is_file() or (target / "_manifest.json").exists()
    stage.finish(way, target)
    tally.exports += 1
    tally.identical += content_of(way, target) == reference.content
    tally.partial += target.is_dir() and not verify_export(target).ok
    left = {path.name for path in target.parent.iterdir()} - {target.name}
    assert not left, left
    if not was_placed:  # a finished file is made again
        tally.read_twice = max(tally.read_twice, stage.pages_served() - reference.pages)


def kill_at_boundary(stage: Stage, way: Way, boundary: int) -> Callable[[Path], bool]:
    """Let the export kill itself there."""

    def kill(target: Path) -> bool:
        return stage.start(way, target, die_at=boundary).wait() == KILLED

    return kill


def kill_after(stage: Stage, way: Way, seconds: float) -> Callable[[Path], bool]:
    """Kill the export from outside."""

    def kill(target: Path) -> bool:
        export = stage.start(way, target)
        export.wait(seconds)
        export.kill()
        return export.wait() == KILLED

    return kill


def run_way(stage: Stage, way: Way, *, random_kills: int, every: int, chance: random.Random) -> Tally:
    """Kill exports of one way at random moments, and at each ``every``-th boundary."""
    reference, tally = make_reference(stage, way), Tally()
    for _ in range(random_kills):
        seconds = chance.uniform(0.0, 1.05) * reference.seconds
        survive(stage, way, reference, tally, kill_after(stage, way, seconds))
    for boundary in range(1, reference.boundaries + 1, every):
        survive(stage, way, reference, tally, kill_at_boundary(stage, way, boundary))
    return tally


def table(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """Yield the lines of the table, in Markdown."""
    yield "| export | kills | identical after going on | partial files seen | most pages read twice |"
    yield "| --- | --- | --- | --- | --- |"
    for name, tally in tallies.items():
        identical = f"{tally.identical} of {tally.exports}"
        yield f"| {name} | {tally.kills} | {identical} | {tally.partial} | {tally.read_twice} |"


def run_all(*, random_kills: int, every: int, seed: int, ways: tuple[Way, ...] = WAYS) -> dict[str, Tally]:
    """Run every way; random kills are shared out among them."""
    chance, tallies = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as folder, StandInServer(demo=False, latency_seconds=0.01) as server:
        stage = Stage(server, Path(folder))
        for place, way in enumerate(ways):
            share = random_kills // len(ways) + (place < random_kills % len(ways))
            tallies[way.name] = run_way(stage, way, random_kills=share, every=every, chance=chance)
            print(list(table({way.name: tallies[way.name]}))[-1], file=sys.stderr, flush=True)  # noqa: T201
    return tallies


PAGE_SIZE = 60
MAX_IN_FLIGHT = 4
KILLED = -signal.SIGKILL

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["futureagi_async.export.job", "pyarrow.parquet"])
_BOUNDARIES = ("write", "writev", "fsync", "replace", "link", "unlink", "rmdir", "mkdir", "ftruncate")
_COMMITS = ("INSERT", "DELETE", "CREATE", "COMMIT", "PRAGMA main.wal_checkpoint", "PRAGMA journal_mode")
"""How the statements begin that SQLite writes by: each is a transaction, or ends one."""


@attrs.define(frozen=True)
class Order:
    """What a process is to export."""

    keys: tuple[str, str, str]
    lists: Mapping[str, str]
    target: str
    options: Mapping[str, Any]
    die_at: int = 0
    environment: Mapping[str, str] = {}
    """Variables that the process has besides those of the one it is forked from."""


class Export:
    """An export in a process of its own, forked from one that has imported everything."""

    def __init__(self, order: Order, work: Callable[[Order], None] | None = None) -> None:
        self._receive, send = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=run_child, args=(order, send, work or export), daemon=True)
        self._process.start()
        send.close()

    @property
    def exit_code(self) -> int | None:
        """How the process ended."""
        return self._process.exitcode

    @property
    def boundaries(self) -> int:
        """How often the export touched the disk."""
        return int(self._receive.recv())

    def wait(self, seconds: float = 60.0) -> int | None:
        """Wait for the process to end; return its exit code."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it, if it still runs."""
        self._process.kill()


class Boundaries:
    """Counts what a process does to the disk, and kills it at one of these moments."""

    def __init__(self, die_at: int) -> None:
        self.count = 0
        self._die_at = die_at

    def watch(self) -> None:
        """Stand before every function that changes the disk."""
        for name in _BOUNDARIES:
            setattr(os, name, self._guarded(name, getattr(os, name)))
        connect = functools.partial(sqlite3.connect, factory=self._guarded_connection())
        setattr(sqlite3, "connect", connect)  # noqa: B010 - types are those of the function itself

    def _is_last(self) -> bool:
        self.count += 1
        return self.count == self._die_at

    def _guarded(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(do)
        def guarded(*arguments: Any, **named: Any) -> Any:
            if self._is_last():
                if name in ("write", "writev"):  # torn in the middle
                    data = arguments[1] if name == "write" else b"".join(arguments[1])
                    real_write(arguments[0], bytes(data)[: len(data) // 2])
                die()
            return do(*arguments, **named)

        real_write = os.write
        return guarded

    def _guarded_connection(self) -> type[sqlite3.Connection]:
        """Make a class of databases that stands before each commit, and before what closing writes."""
        is_last = self._is_last

        class Guarded(sqlite3.Connection):
            def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
                if statement.startswith(_COMMITS) and is_last():
                    die()
                return super().execute(statement, values)

            def close(self) -> None:
                if is_last():
                    die()
                super().close()

        return Guarded


def die() -> None:
    """Leave everything as it is."""
    os.kill(os.getpid(), signal.SIGKILL)


def run_child(order: Order, send: Connection, work: Callable[[Order], None]) -> None:
    """Export as ordered, and tell the number of boundaries."""
    os.environ.update(order.environment)
    boundaries = Boundaries(order.die_at)
    boundaries.watch()
    work(order)
    send.send(boundaries.count)


def export(order: Order) -> None:
    """Export as ordered, in this process."""
    sources = [RunTestCalls(order.lists["run_test"]), TestExecutionCalls(order.lists["test_execution"])]

    async def run() -> None:
        async with Session(*order.keys, max_in_flight=MAX_IN_FLIGHT) as session:
            await export_calls(session, sources, order.target, page_size=PAGE_SIZE, **order.options)

    asyncio.run(run())


def main() -> int:
    """Print the table; exit 1 if anything was lost, doubled or seen unfinished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=100, help="kills at random moments")
    parser.add_argument("--every", type=int, default=1, help="kill at each so-many-th boundary")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tallies = run_all(random_kills=arguments.random, every=arguments.every, seed=arguments.seed)
    print("\n".join(table(tallies)))  # noqa: T201
    good = all(is_good(tally) for tally in tallies.values())
    return 0 if good else 1


def is_good(tally: Tally) -> bool:
    """Whether nothing was lost, doubled, seen unfinished, or read again beyond what was in flight."""
    return tally.identical == tally.exports and tally.partial == 0 and tally.read_twice <= MAX_IN_FLIGHT


if __name__ == "__main__":
    sys.exit(main())
