"""Reads a hundred thousand records, twice, from a server that fails a tenth of all requests.

``python -m tests.long soak`` reads 100,000 records of lists and then their details, fifty at a time, and
checks every byte; ``--items 3000`` reads less. Pauses are a fiftieth of what they would be; timeouts
are real, and short. Names that do not resolve, ports that refuse and that never accept are among the
faults, too.
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import random
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.request import urlopen

import aiohttp
import anyio
import attrs
from aiohttp.abc import AbstractResolver, ResolveResult

from futureagi_async import CallExecution, RunTestCalls, Session, Timeouts
from tests.long.soak_server import ROWS_A_LIST, list_id, record, record_id
from tests.support.raw_server import open_files

RATE = 0.1
IN_FLIGHT = 50
BATCH = 5_000
"""Details held in memory at once."""
MOST_REQUESTS_AN_ITEM = 1.35
MOST_MEMORY = 300 * 2**20
PATIENCE = Timeouts(connect=0.2, read=0.2, attempt=0.5, deadline=100_000)


class HastyClock:
    """Runs fifty times as fast as the machine's."""

    speed = 50.0

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def monotonic(self) -> float:
        return time.monotonic() * self.speed

    def jitter(self) -> float:
        return self._chance.random()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds / self.speed)


class FaultyResolver(AbstractResolver):
    """Finds the server, or no name, a closed port, or one that never accepts."""

    def __init__(self, port: int, dead_ports: tuple[int, int], seed: int) -> None:
        self._port = port
        self._dead_ports = dead_ports
        self._chance = random.Random(seed)
        self.faults = {"name does not resolve": 0, "connection refused": 0, "connection never accepted": 0}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        roll = self._chance.random()
        if roll < RATE:
            kind = list(self.faults)[int(3 * roll / RATE)]
            self.faults[kind] += 1
            if kind == "name does not resolve":
                raise OSError(None, "no such name")
            port = self._dead_ports[kind == "connection never accepted"]
        else:
            port = self._port
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@contextmanager
def dead_ports() -> Iterator[tuple[int, int]]:
    """Give a port that refuses connections, and one that never accepts any."""
    with socket.create_server(("127.0.0.1", 0)) as refusing:
        closed = refusing.getsockname()[1]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address, timeout=1):  # the one that fits
            yield closed, address[1]


@asynccontextmanager
async def run_server(rows: int, seed: int, rate: float = RATE) -> AsyncIterator[int]:
    """Run the server in a process of its own; give its port."""
    command = [sys.executable, "-m", "tests.long.soak_server", str(rows), str(rate), str(seed)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


@attrs.define
class Tally:
    """Which records came, and whether they are the server's own bytes."""

    rows: int
    seen: bytearray = attrs.field(init=False)
    wrong: int = 0
    foreign: int = 0
    duplicates: int = 0

    def __attrs_post_init__(self) -> None:
        self.seen = bytearray(self.rows)

    def take(self, call: CallExecution) -> None:
        """Check one record."""
        number = int(call.id[:8], 16)
        if number >= self.rows or call.id != record_id(number):
            self.foreign += 1
            return
        self.duplicates += self.seen[number]
        self.seen[number] = 1
        self.wrong += hashlib.sha256(call.raw).digest() != hashlib.sha256(record(number)).digest()

    def check(self) -> None:
        """Assert that each record came once, as it was sent."""
        assert sum(self.seen) == self.rows, f"{self.rows - sum(self.seen)} records are missing"
        assert (self.wrong, self.foreign, self.duplicates) == (0, 0, 0), self


@attrs.define(frozen=True)
class Soaked:
    """What it took."""

    rows: int
    items: int
    """Pages that a reader without faults asks for, and details."""
    requests: int
    asked_again: int
    """Ids whose patience ended, and that were asked for again."""
    faults: dict[str, int]
    seconds: float
    peak_memory_bytes: int


async def soak(rows: int, seed: int = 1) -> Soaked:
    """Read so many records of lists, and then their details."""
    began = time.monotonic()
    with dead_ports() as dead:
        async with run_server(rows, seed) as port:
            tasks, files = asyncio.all_tasks(), open_files()
            resolver = FaultyResolver(port, dead, seed)
            async with aiohttp.TCPConnector(
                limit=IN_FLIGHT, resolver=resolver, use_dns_cache=False
            ) as connector:
                options: dict[str, Any] = {"connector": connector, "clock": HastyClock(seed)}
                async with Session(
                    "key",
                    "secret",
                    "http://localhost:9",
                    max_in_flight=IN_FLIGHT,
                    timeouts=PATIENCE,
                    max_response_bytes=500_000,
                    **options,
                ) as session:
                    await read_lists(session, rows)
                    asked_again = await read_details(session, rows)
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - tasks
            assert not left, left
            assert open_files() <= files, f"{open_files()} open files instead of {files}"
            stats = await asyncio.to_thread(read_stats, port)
    return Soaked(
        rows=rows,
        items=rows + -(-rows // 100),
        requests=stats["requests"],
        asked_again=asked_again,
        faults=stats["faults"] | resolver.faults,
        seconds=time.monotonic() - began,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


async def read_lists(session: Session, rows: int) -> None:
    """Read all lists at once; each must be proven complete."""
    tally = Tally(rows)
    sources = [RunTestCalls(list_id(number)) for number in range(-(-rows // ROWS_A_LIST))]
    async with session.stream_calls(sources, page_size=100, on_error="collect") as stream:
        async for call in stream:
            tally.take(call)
    unproven = [source.reason for source in stream.report if source.verdict != "complete"]
    assert not unproven, unproven
    tally.check()


async def read_details(session: Session, rows: int) -> int:
    """Read all details; ids that failed are asked for again, as a job that is resumed does."""
    tally, asked_again = Tally(rows), 0
    waiting = map(record_id, range(rows))
    while batch := list(itertools.islice(waiting, BATCH)):
        while batch:
            outcomes = await session.fetch_call_executions(batch)
            for outcome in outcomes:
                if outcome.value is not None:
                    tally.take(outcome.value)
            batch = [outcome.id for outcome in outcomes if outcome.error is not None]
            asked_again += len(batch)
    tally.check()
    return asked_again


def read_stats(port: int) -> dict[str, Any]:
    """Ask the server what it did."""
    with urlopen(f"http://127.0.0.1:{port}/stats", timeout=10) as response:
        stats: dict[str, Any] = json.load(response)
    return stats


def main() -> int:
    """Soak, print the figures, and check them."""
    parser = argparse.ArgumentParser(prog="python -m tests.long soak", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000, help="records of lists, and details, to read")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600, help="give up after so long")
    given = parser.parse_args()
    done = asyncio.run(asyncio.wait_for(soak(given.items, given.seed), given.seconds))
    print(f"{done.rows:,} records of lists and as many details in {done.seconds:.0f} s")  # noqa: T201
    print(f"{done.requests:,} requests: {done.requests / done.items:.3f} an item")  # noqa: T201
    print(f"{sum(done.faults.values()):,} faults of {len(done.faults)} kinds")  # noqa: T201
    memory = f"peak memory {done.peak_memory_bytes / 2**20:.0f} MiB"
    print(f"{done.asked_again} ids were asked for again, {memory}")  # noqa: T201
    assert done.requests <= MOST_REQUESTS_AN_ITEM * done.items
    assert done.peak_memory_bytes < MOST_MEMORY
    assert min(done.faults.values()) > 0 or done.rows < 10_000, done.faults
    return 0


if __name__ == "__main__":
    sys.exit(main())
