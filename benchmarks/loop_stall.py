"""How long other tasks wait while pages are read: the longest stall of the event loop above idle.

Run ``python -m benchmarks.loop_stall``. A task that does nothing but take turns measures the time
between two of them; the server runs in a process of its own. Milliseconds, not ratios: a stall is
what a request of the same process waits. CPU time stands beside, which other programs do not add to.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from statistics import median
from typing import TypeAlias

import aiohttp
import attrs
import orjson

from benchmarks import ours
from benchmarks.pages import VOICE, make_page
from benchmarks.rounds import Figure, print_table, read_rounds
from benchmarks.servers import Address, serving_pages
from futureagi_async import RunTestCalls, Session

GOALS_MS = {100: 3.0, 1_000: 8.0}
"""By records a page."""

KEPT_RECORDS = 10_000

Work: TypeAlias = Callable[[], Awaitable[object]]


@attrs.define
class Stall:
    """The longest gap between two turns, in milliseconds."""

    wall: float = 0.0
    cpu: float = 0.0


async def longest_stall(work: Work) -> Stall:
    """Measure while ``work`` runs."""
    stall = Stall()

    async def take_turns() -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0)
            now, spent = time.perf_counter(), time.thread_time()
            stall.wall = max(stall.wall, (now - wall) * 1e3)
            stall.cpu = max(stall.cpu, (spent - cpu) * 1e3)
            wall, cpu = now, spent

    gc.collect()
    turns = asyncio.create_task(take_turns())
    await asyncio.sleep(0)
    await work()
    await asyncio.sleep(0)  # what the work did last is a gap, too
    turns.cancel()
    with suppress(asyncio.CancelledError):
        await turns
    return stall


async def measure(address: Address, limit: int, rounds: int) -> dict[str, list[Stall]]:
    """Let each way of reading a page run once a round."""
    source = RunTestCalls(address.run_test_id)
    stalls: dict[str, list[Stall]] = {}
    async with (
        Session(address.api_key, address.secret_key, address.base_url) as session,
        aiohttp.ClientSession(headers=address.headers) as bare,
    ):

        async def get_page() -> None:
            await session.get_page(source, limit=limit)

        async def stream() -> None:
            async with session.stream_calls(source, page_size=limit, consistency="fast") as calls:
                async for _ in calls.pages():
                    return

        async def stream_and_touch() -> None:
            taken = 0
            async with session.stream_calls(source, page_size=limit, consistency="fast") as calls:
                async for call in calls:
                    for name in ours.NESTED:
                        getattr(call, name)
                    taken += 1
                    if taken > limit:  # and so the first page was let go of
                        return

        async def read_bare() -> None:
            async with bare.get(address.page_url(1, limit)) as response:
                orjson.loads(await response.read())

        rivals: dict[str, Work] = {
            "idle": lambda: asyncio.sleep(0.05 * limit / 100),
            "get_page": get_page,
            "stream_calls": stream,
            "stream_calls, nested parts touched": stream_and_touch,
            "aiohttp + orjson dicts": read_bare,
        }
        for number in range(rounds + 1):
            for name, work in rivals.items():
                stall = await longest_stall(work)
                if number > 0:  # the first round connects
                    stalls.setdefault(name, []).append(stall)
    return stalls


def figures(limit: int, rounds: int) -> Iterator[Figure]:
    """Measure one size of page."""
    with serving_pages(limit) as address:
        stalls = asyncio.run(measure(address, limit, rounds))
    idle = median(stall.wall for stall in stalls.pop("idle"))
    for name, measured in stalls.items():
        wall, cpu = median(stall.wall for stall in measured), median(stall.cpu for stall in measured)
        goal = None if "aiohttp" in name else GOALS_MS[limit]
        measure_name = f"page of {limit:,}, {name} ({cpu:.1f} ms of CPU)"
        yield Figure(measure_name, max(0.0, wall - idle), goal, unit=" ms")


def collection_figures(rounds: int) -> Iterator[Figure]:
    """Measure what a full garbage collection takes while many records are kept."""
    body = make_page(VOICE)
    rivals: dict[str, Callable[[bytes], object]] = {
        "typed records": ours.decode,
        "typed records, nested parts touched": ours.decode_and_touch,
        "orjson dicts": orjson.loads,
    }
    for name, decode in rivals.items():
        kept = [decode(body) for _ in range(KEPT_RECORDS // 100)]
        seconds = []
        for _ in range(rounds):
            began = time.process_time()
            gc.collect()
            seconds.append(time.process_time() - began)
        yield Figure(f"{KEPT_RECORDS:,} {name} kept", median(seconds) * 1e3, unit=" ms")
        del kept


def main() -> None:
    """Print one table for pages, and one for what keeping records costs."""
    rounds = read_rounds(__doc__, default=15)
    print_table(
        "longest stall of the event loop above idle",
        (figure for limit in GOALS_MS for figure in figures(limit, rounds)),
    )
    print_table("a full garbage collection", collection_figures(rounds))


if __name__ == "__main__":
    main()
