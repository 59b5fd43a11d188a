"""What thousands of lists cost the machine that plans and commits their shares.

Run ``python -m benchmarks.share_lists`` on Linux. Lists of small records are cut into shares, exported by two
processes, and committed; planning and committing have a process of their own, apart from the server and from
those that export, and tell the most memory it ever held. What is kept of every call would show as growth from
the second line to the third, what is kept of every list from the first to the second.
"""

import asyncio
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.export_memory import peak_mebibytes
from futureagi_async import (
    RunTestCalls,
    Session,
    Share,
    ShareReceipt,
    commit_shares,
    export_share,
    plan_shares,
    verify_export,
)
from futureagi_async.testing import StandInServer

SIZES = ((200, 10), (2_000, 10), (2_000, 100))
"""Lists, and calls of each."""
REQUESTS = 100
"""A share."""
WORKERS = 2


def export_one(keys: tuple[str, str, str], share: Share, staging: str) -> ShareReceipt:
    """Export a share, as an engine's task would."""

    async def work() -> ShareReceipt:
        async with Session(*keys) as session:
            return await export_share(session, share, staging)

    return asyncio.run(work())


async def drive(order: dict[str, Any]) -> None:
    """Plan, let others export, commit, and print what that took."""
    keys = (order["api_key"], order["secret_key"], order["base_url"])
    staging, target = str(Path(order["folder"], "staging")), Path(order["folder"], "out")
    before = peak_mebibytes()
    async with Session(*keys) as session:
        began = time.perf_counter()
        shares = await plan_shares(session, map(RunTestCalls, order["run_tests"]), REQUESTS)
        planned = time.perf_counter() - began
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as workers:
        waiting = [workers.submit(export_one, keys, share, staging) for share in shares]
        receipts = [each.result() for each in waiting]
    began = time.perf_counter()
    report = await commit_shares(receipts, staging, target)
    committed = time.perf_counter() - began
    peak = peak_mebibytes()
    assert report.complete
    assert verify_export(target).ok
    figures = {"shares": len(shares), "before": before, "peak": peak, "plan": planned, "commit": committed}
    print(json.dumps({**figures, "records": report.records}))


def measure(lists: int, calls: int) -> dict[str, Any]:
    """Let a fresh process drive an export of so many lists."""
    with StandInServer(demo=False) as server, tempfile.TemporaryDirectory() as folder:
        run_tests = [server.add_run_test(calls, slim=True) for _ in range(lists)]
        order = Path(folder, "order.json")
        keys = {"api_key": server.api_key, "secret_key": server.secret_key, "base_url": server.base_url}
        order.write_text(json.dumps({**keys, "run_tests": run_tests, "folder": folder}))
        command = [sys.executable, "-m", "benchmarks.share_lists", str(order)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        small = sum(request.query.get("limit") == "5" for request in server.requests)
    return {**json.loads(output), "small": small}


def main() -> None:
    """Print one table, or drive an export where an order is given."""
    if len(sys.argv) > 1:
        asyncio.run(drive(json.loads(Path(sys.argv[1]).read_text())))
        return
    print(
        "| lists | calls | shares | requests to plan | plan, s | commit, s | memory before, MiB | peak, MiB |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for lists, calls in SIZES:
        made = measure(lists, calls)
        times = f"{made['plan']:.1f} | {made['commit']:.1f}"
        memory = f"{made['before']:.0f} | {made['peak']:.0f}"
        line = (
            f"| {lists:,} | {made['records']:,} | {made['shares']} | {made['small']:,} | {times} | {memory} |"
        )
        print(line, flush=True)


if __name__ == "__main__":
    main()
