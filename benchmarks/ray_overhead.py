"""What Ray adds to an export: a cluster against one process, with the same budget.

Run ``python -m benchmarks.ray_overhead`` where Ray is installed (extra ``[ray]``). Both export the same lists
of a stand-in in a process of its own as Parquet, and may send the same number of requests a minute; the
cluster is on this machine, and its workers have started. To plan shares costs a request a list, and none
where the numbers of calls are known. The last line is without a limit that matters, which leaves what
shares, receipts, tasks and the commit cost.
"""

import asyncio
import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import attrs

from futureagi_async import CallSource, ExportReport, MinuteBudget, RunTestCalls, Session, export_calls
from futureagi_async.testing import StandInServer

LISTS, CALLS = 60, 400
LATENCY_SECONDS = 0.05
BUDGETS = (300, 600, 60_000)
"""Requests a minute; the last is no limit for so few."""
FETCHERS = 2


@attrs.define(frozen=True)
class Lists:
    """Where to read what."""

    base_url: str
    keys: tuple[str, str]
    run_test_ids: tuple[str, ...]

    @property
    def sources(self) -> list[RunTestCalls]:
        """The lists."""
        return [RunTestCalls(each) for each in self.run_test_ids]


@contextmanager
def serving() -> Iterator[Lists]:
    """Run the stand-in, with the lists, until the block ends."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    server = context.Process(target=_serve, args=(send,), daemon=True)
    server.start()
    try:
        yield receive.recv()
    finally:
        server.terminate()
        server.join()


def _serve(send: Connection) -> None:
    with StandInServer(demo=False, latency_seconds=LATENCY_SECONDS) as server:
        ids = tuple(server.add_run_test(CALLS, slim=True) for _ in range(LISTS))
        send.send(Lists(server.base_url, (server.api_key, server.secret_key), ids))
        time.sleep(10**6)


def export_alone(lists: Lists, target: Path, per_minute: int) -> ExportReport:
    """Export in this process."""

    async def work() -> ExportReport:
        budget = MinuteBudget(
            per_minute, shared=True
        )  # which begins as empty, and is as even, as the cluster's
        async with Session(*lists.keys, lists.base_url, budget=budget) as session:
            return await export_calls(session, lists.sources, target, format="parquet")

    return asyncio.run(work())


def export_planned(lists: Lists, target: Path, per_minute: int) -> ExportReport:
    """Export by the cluster, which knows how long the lists are."""
    return export_by_ray(lists, target, per_minute, dict.fromkeys(lists.sources, CALLS))


def export_by_ray(
    lists: Lists, target: Path, per_minute: int, counts: Mapping[CallSource, int] | None = None
) -> ExportReport:
    """Export by the cluster."""
    from futureagi_async.integrations import ray

    return ray.export_calls(
        lists.sources,
        target,
        requests_per_minute=per_minute,
        fetchers=FETCHERS,
        share_requests=20,
        base_url=lists.base_url,
        counts=counts,
    )


def main() -> None:
    """Print a line for each budget."""
    import ray

    with serving() as lists, tempfile.TemporaryDirectory() as folder:
        keys = dict(zip(("FI_API_KEY", "FI_SECRET_KEY"), lists.keys, strict=True))
        os.environ.update(keys, RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
        ray.init(
            address="local",
            num_cpus=FETCHERS,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            logging_level=logging.ERROR,
        )
        export_by_ray(lists, Path(folder, "warm"), 60_000)
        print("| requests a minute | one process, s | Ray, s | ratio | counts known, s | ratio |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: |")
        for number, per_minute in enumerate(BUDGETS):
            seconds = []
            for export in (export_alone, export_by_ray, export_planned):
                began = time.perf_counter()
                report = export(lists, Path(folder, f"{export.__name__}{number}"), per_minute)
                seconds.append(time.perf_counter() - began)
                assert report.complete
                assert report.records == LISTS * CALLS
            alone, *others = seconds
            cells = [f"{other:.1f} | {other / alone:.2f}" for other in others]
            print(f"| {per_minute:,} | {alone:.1f} | {' | '.join(cells)} |", flush=True)
        ray.shutdown()


if __name__ == "__main__":
    main()
