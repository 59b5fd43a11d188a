"""How many requests proving completeness takes, beside reading every page once.

Run ``python -m benchmarks.count_requests``. The lists stand still; the stand-in serves them. Counts do
not vary, so there are no rounds; ``--rounds`` is accepted like everywhere.
"""

import asyncio
from collections.abc import Iterator
from math import ceil

from benchmarks.rounds import Figure, print_table, read_rounds
from futureagi_async import AgentVersionCalls, CallSource, RunTestCalls, Session, TestExecutionCalls
from futureagi_async.testing import StandInServer

GOAL = 1.2
CALLS = 3_000
PAGE_SIZE = 100


async def count_requests(server: StandInServer, source: CallSource) -> int:
    """Read a list to the end; it must be complete."""
    async with Session(server.api_key, server.secret_key, server.base_url) as session:
        result = await session.fetch_calls(source, page_size=PAGE_SIZE)
    assert result.report.complete, result.report
    return sum(report.requests for report in result.report)


def figures() -> Iterator[Figure]:
    """Compare each kind of list with naive paging."""
    naive = ceil(CALLS / PAGE_SIZE)
    with StandInServer(demo=False) as server:
        for tie_size in (1, 4):
            sources: dict[str, CallSource] = {
                "run test": RunTestCalls(server.add_run_test(CALLS, slim=True, tie_size=tie_size)),
                "test execution": TestExecutionCalls(
                    server.add_test_execution(CALLS, slim=True, tie_size=tie_size)
                ),
                "agent version": AgentVersionCalls(
                    *server.add_agent_version(CALLS, slim=True, tie_size=tie_size)
                ),
            }
            for name, source in sources.items():
                requests = asyncio.run(count_requests(server, source))
                ties = f", ties of {tie_size}" if tie_size > 1 else ""
                yield Figure(f"{name}{ties} ({requests} requests for {naive} pages)", requests / naive, GOAL)


def main() -> None:
    """Print one table."""
    read_rounds(__doc__, default=1)
    print_table(f"requests for a still list of {CALLS:,}, against naive paging", figures())


if __name__ == "__main__":
    main()
