"""Pages over HTTP, from request to typed records: CPU of the client beside its peers, and wall clock.

Run ``python -m benchmarks.fetch_pages``. Servers run in processes of their own: for CPU one that sends
ready pages of big records, for the wall clock also the stand-in. Peers: bare aiohttp with orjson
dicts, httpx with pydantic, requests with orjson dicts in a thread pool; ours on uvloop, if there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from math import ceil
from statistics import median
from typing import Any, TypeAlias

import aiohttp
import httpx
import orjson
import requests

from benchmarks.pages import LIST_ROWS
from benchmarks.peers import decode_pydantic
from benchmarks.rounds import Figure, Run, Timings, interleave, print_table, read_rounds
from benchmarks.servers import Address, serving_pages, serving_sample
from futureagi_async import RunTestCalls, Session

IN_FLIGHT = 8
PAGES = 24
"""Read in a round by each rival, `IN_FLIGHT` at a time."""

LATENCY_SECONDS = 0.05
SLOTS = 16
SMALL_PAGE = 10
STREAMED_PAGES = 1_200
"""About as many; their lists are read side by side, as often as it takes."""

SAMPLE_PAGES = 25
"""Small pages of the stand-in's first list."""

GOALS = {
    100: {"aiohttp + orjson dicts": 0.8, "httpx + pydantic": 0.25},
    10: {"aiohttp + orjson dicts": 1.0, "httpx + pydantic": 0.15},
}
"""The most that ours may cost, times a peer, by page size."""

ReadOne: TypeAlias = Callable[[int], Awaitable[object]]
"""Reads and decodes a page, given its number."""

Connect: TypeAlias = Callable[[AsyncExitStack, Address, int], Coroutine[Any, Any, dict[str, ReadOne]]]


async def read_all(read_one: ReadOne, pages: int = PAGES, in_flight: int = IN_FLIGHT) -> None:
    """Read pages 1 to ``pages`` with a few workers, as a script would."""
    numbers = iter(range(1, pages + 1))

    async def work() -> None:
        for number in numbers:
            await read_one(number)

    async with asyncio.TaskGroup() as workers:
        for _ in range(in_flight):
            workers.create_task(work())


@contextmanager
def opened_rivals(address: Address, limit: int) -> Iterator[dict[str, Run]]:
    """Yield what each rival does in a round; clients stay connected from round to round."""
    with ExitStack() as stack:
        rivals = stack.enter_context(_opened_async(_async_rivals, address, limit))
        if find_spec("uvloop"):
            import uvloop  # type: ignore[import-not-found,unused-ignore]

            make_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
            on_uvloop = stack.enter_context(_opened_async(_ours_alone, address, limit, make_loop))
            rivals["ours on uvloop"] = on_uvloop["ours"]
        rivals["requests in threads + orjson dicts"] = stack.enter_context(_opened_threads(address, limit))
        yield rivals


@contextmanager
def _opened_async(
    connect: Connect,
    address: Address,
    limit: int,
    make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Iterator[dict[str, Run]]:
    clients = AsyncExitStack()
    with asyncio.Runner(loop_factory=make_loop) as runner:
        readers = runner.run(connect(clients, address, limit))
        try:
            yield {
                name: partial(lambda read_one: runner.run(read_all(read_one)), read_one)
                for name, read_one in readers.items()
            }
        finally:
            runner.run(clients.aclose())


async def _ours_alone(clients: AsyncExitStack, address: Address, limit: int) -> dict[str, ReadOne]:
    session = await clients.enter_async_context(_open_session(address, IN_FLIGHT))
    source = RunTestCalls(address.run_test_id)
    return {"ours": lambda page: session.get_page(source, page=page, limit=limit)}


async def _async_rivals(clients: AsyncExitStack, address: Address, limit: int) -> dict[str, ReadOne]:
    bare = await clients.enter_async_context(aiohttp.ClientSession(headers=address.headers))
    client = await clients.enter_async_context(httpx.AsyncClient(headers=address.headers))

    async def with_aiohttp(page: int) -> object:
        async with bare.get(address.page_url(page, limit)) as response:
            return orjson.loads(await response.read())

    async def with_httpx(page: int) -> object:
        return decode_pydantic((await client.get(address.page_url(page, limit))).content)

    return {
        **await _ours_alone(clients, address, limit),
        "aiohttp + orjson dicts": with_aiohttp,
        "httpx + pydantic": with_httpx,
    }


@contextmanager
def _opened_threads(address: Address, limit: int) -> Iterator[Run]:
    def read_one(page: int) -> object:
        return orjson.loads(client.get(address.page_url(page, limit)).content)

    with ThreadPoolExecutor(IN_FLIGHT) as threads, requests.Session() as client:
        client.headers.update(address.headers)
        yield lambda: list(threads.map(read_one, range(1, PAGES + 1)))


def cpu_figures(timings: Timings, goals: dict[str, float]) -> Iterator[Figure]:
    """Compare CPU: ours against each peer."""
    for name in timings.seconds:
        if name != "ours":
            each = timings.microseconds(name, units=PAGES) / 1000
            mine = timings.microseconds("ours", units=PAGES) / 1000
            measure = f"ours against {name} ({mine:.1f} / {each:.1f} ms a page)"
            yield Figure(measure, timings.ratio("ours", name), goals.get(name))


def efficiency_figures(server: str, address: Address, list_pages: int, rounds: int) -> Iterator[Figure]:
    """Compare the wall clock with the least possible for this many pages, slots and this latency."""
    ours, bare = [], []
    for _ in range(rounds):
        pages, seconds = asyncio.run(_stream_fast(address, STREAMED_PAGES // list_pages))
        ours.append(_ideal(pages) / seconds)
        bare.append(_ideal(pages) / asyncio.run(_walk_bare(address, pages, list_pages)))
    yield Figure(f"ours, {server}", median(ours), 0.94, at_least=True)
    yield Figure(f"bare aiohttp, told the pages in advance, {server}", median(bare))


def _ideal(pages: int) -> float:
    return ceil(pages / SLOTS) * LATENCY_SECONDS


def _open_session(address: Address, slots: int) -> Session:
    return Session(address.api_key, address.secret_key, address.base_url, max_in_flight=slots)


async def _stream_fast(address: Address, lists: int) -> tuple[int, float]:
    """Read many lists page by page; return how many pages, and the seconds."""
    sources = [RunTestCalls(address.run_test_id)] * lists
    async with _open_session(address, SLOTS) as session:
        began = time.perf_counter()
        async with session.stream_calls(sources, page_size=SMALL_PAGE, consistency="fast") as stream:
            async for _ in stream.pages():
                pass
        seconds = time.perf_counter() - began
    return sum(report.requests for report in stream.report), seconds


async def _walk_bare(address: Address, pages: int, list_pages: int) -> float:
    async with aiohttp.ClientSession(headers=address.headers) as client:

        async def read_one(number: int) -> None:
            async with client.get(address.page_url(1 + number % list_pages, SMALL_PAGE)) as response:
                orjson.loads(await response.read())

        began = time.perf_counter()
        await read_all(read_one, pages, SLOTS)
        return time.perf_counter() - began


def wall_clock_figures(rounds: int) -> Iterator[Figure]:
    """Measure with both servers."""
    with serving_pages(SMALL_PAGE, latency_seconds=LATENCY_SECONDS) as address:
        yield from efficiency_figures("ready pages", address, LIST_ROWS // SMALL_PAGE, rounds)
    with serving_sample(latency_seconds=LATENCY_SECONDS) as address:
        yield from efficiency_figures("stand-in", address, SAMPLE_PAGES, rounds)


def main() -> None:
    """Print a table for each size of page, and one for the wall clock."""
    rounds = read_rounds(__doc__, default=9)
    for limit, goals in GOALS.items():
        with serving_pages(limit) as address, opened_rivals(address, limit) as rivals:
            timings = interleave(rivals, rounds=rounds)
        print_table(f"CPU of the client, pages of {limit}, 9.8 kB a record", cpu_figures(timings, goals))
    latency = f"{LATENCY_SECONDS * 1000:.0f} ms latency, {SLOTS} in flight, {SMALL_PAGE} a page"
    print_table(f"ideal wall clock / measured, {latency}", wall_clock_figures(min(rounds, 5)))


if __name__ == "__main__":
    main()
