"""How long a proven read takes beside one that proves nothing, and how soon its first record is there.

Run ``python -m benchmarks.cover_time``. The lists stand still. For the proofs the stand-in takes 8 ms a row
on two workers, as a small server of the vendor's does; the naive reader asks for page 1, then for the
others that it tells of, with as many slots. First records come from a server process without latency.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from math import ceil
from statistics import median

import aiohttp
import orjson

from benchmarks.rounds import Figure, print_table, read_rounds
from benchmarks.servers import serving_list
from futureagi_async import AgentVersionCalls, CallSource, RunTestCalls, Session, TestExecutionCalls
from futureagi_async.testing import ServerCost, StandInServer

CALLS = 2_200
PAGE_SIZE = 100
SLOTS = 16
COST = ServerCost(seconds_per_row=0.008, workers=2)

STREAMED_CALLS = 3_000
FIRST_RECORDS = 15
"""Read in a round."""


async def seconds_of(read: Callable[[], Awaitable[object]]) -> float:
    """Return how long it takes, by the clock on the wall."""
    began = time.perf_counter()
    await read()
    return time.perf_counter() - began


async def read_proven(server: StandInServer, source: CallSource) -> None:
    """Read a list with its proof."""
    async with Session(server.api_key, server.secret_key, server.base_url, max_in_flight=SLOTS) as session:
        result = await session.fetch_calls(source, page_size=PAGE_SIZE)
    assert result.report.complete, result.report
    assert len(result.calls) == CALLS


async def read_naively(server: StandInServer, path: str) -> None:
    """Read page 1, then the other pages side by side."""
    headers = {"X-Api-Key": server.api_key, "X-Secret-Key": server.secret_key}
    async with aiohttp.ClientSession(server.base_url, headers=headers) as client:

        async def read_page(page: int) -> int:
            async with client.get(path, params={"page": page, "limit": PAGE_SIZE}) as response:
                count: int = orjson.loads(await response.read())["count"]
                return count

        pages = iter(range(2, ceil(await read_page(1) / PAGE_SIZE) + 1))

        async def work() -> None:
            for page in pages:
                await read_page(page)

        async with asyncio.TaskGroup() as workers:
            for _ in range(SLOTS):
                workers.create_task(work())


async def compare_reads(make: Callable[[StandInServer], tuple[CallSource, str]]) -> float:
    """Return the time of a proven read against that of a naive one, each from a server of its own."""
    async with (
        StandInServer(demo=False, cost=COST) as ours,
        StandInServer(demo=False, cost=COST) as theirs,
    ):
        source, path = make(ours)
        assert make(theirs) == (source, path)
        proven = await seconds_of(lambda: read_proven(ours, source))
        return proven / await seconds_of(lambda: read_naively(theirs, path))


def a_run_test(server: StandInServer) -> tuple[CallSource, str]:
    """Make a list that is counted last."""
    run_test_id = server.add_run_test(CALLS, slim=True)
    return RunTestCalls(run_test_id), f"/simulate/run-tests/{run_test_id}/call-executions/"


def a_test_execution(server: StandInServer) -> tuple[CallSource, str]:
    """Make a list that is counted first, so that its end is read again."""
    execution_id = server.add_test_execution(CALLS, slim=True)
    return TestExecutionCalls(execution_id), f"/simulate/test-executions/{execution_id}/"


def an_agent_version(server: StandInServer) -> tuple[CallSource, str]:
    """Make another such list."""
    agent_id, version_id = server.add_agent_version(CALLS, slim=True)
    path = f"/simulate/agent-definitions/{agent_id}/versions/{version_id}/call-executions/"
    return AgentVersionCalls(agent_id, version_id), path


async def compare_all_reads() -> Iterator[Figure]:
    """Compare each kind of list, side by side: nearly all the time is the servers'."""
    kinds = {
        "run test": a_run_test,
        "test execution": a_test_execution,
        "agent version": an_agent_version,
    }
    ratios = await asyncio.gather(*map(compare_reads, kinds.values()))
    return (Figure(name, ratio, 1.1) for name, ratio in zip(kinds, ratios, strict=True))


async def compare_first_records(rounds: int) -> float:
    """Return the time to a stream's first record against a bare request's for the same page."""
    with serving_list(STREAMED_CALLS) as address:

        async def read_first() -> None:
            async with (
                Session(address.api_key, address.secret_key, address.base_url) as session,
                session.stream_calls(RunTestCalls(address.run_test_id), page_size=PAGE_SIZE) as stream,
            ):
                began = time.perf_counter()
                async for call in stream:
                    streamed.append(time.perf_counter() - began)
                    assert call.id
                    break

        async def read_bare() -> None:
            async with aiohttp.ClientSession(headers=address.headers) as client:
                began = time.perf_counter()
                async with client.get(address.page_url(1, PAGE_SIZE)) as response:
                    row = orjson.loads(await response.read())["results"][0]
                bare.append(time.perf_counter() - began)
                assert row["id"]

        ratios = []
        for _ in range(rounds):
            streamed: list[float] = []
            bare: list[float] = []
            for _ in range(FIRST_RECORDS):
                await read_first()
                await read_bare()
            ratios.append(median(streamed) / median(bare))
        return median(ratios)


def main() -> None:
    """Print one table for each."""
    rounds = read_rounds(__doc__, default=5)
    heading = f"wall clock of a proven read of {CALLS:,}, 8 ms a row on two workers, against naive paging"
    print_table(heading, asyncio.run(compare_all_reads()))
    first = Figure(
        "a stream's, against a bare request for its first page",
        asyncio.run(compare_first_records(rounds)),
        1.3,
    )
    print_table(f"time to the first record of {STREAMED_CALLS:,}", [first])


if __name__ == "__main__":
    main()
