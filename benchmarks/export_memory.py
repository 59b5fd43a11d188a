"""How much memory an export takes, and whether that grows with the number of calls.

Run ``python -m benchmarks.export_memory`` on Linux. Each export runs in a process of its own, apart
from the server, and reports the most memory it ever held.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from futureagi_async import RunTestCalls, Session, export_calls
from futureagi_async.testing import StandInServer

SIZES = (10_000, 100_000)


def peak_mebibytes() -> float:
    """Return the most memory this program ever held; ``ru_maxrss`` would count what forked it, too."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


async def export(order: dict[str, str]) -> None:
    """Export one list, and print what it took."""
    async with Session(order["api_key"], order["secret_key"], order["base_url"], max_in_flight=8) as session:
        before = peak_mebibytes()
        report = await export_calls(session, RunTestCalls(order["run_test"]), order["target"])
    assert report.complete
    figures = {"records": report.records, "before": before, "peak": peak_mebibytes(), "bytes": report.bytes}
    print(json.dumps(figures))


def measure(calls: int) -> dict[str, float]:
    """Export so many calls in a fresh process."""
    with StandInServer(demo=False) as server, tempfile.TemporaryDirectory() as folder:
        order = {
            "api_key": server.api_key,
            "secret_key": server.secret_key,
            "base_url": server.base_url,
            "run_test": server.add_run_test(calls, slim=True),
            "target": str(Path(folder, "out")),
        }
        command = [sys.executable, "-m", "benchmarks.export_memory", json.dumps(order)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


def main() -> None:
    """Print one table, or export where an order is given."""
    if len(sys.argv) > 1:
        asyncio.run(export(json.loads(sys.argv[1])))
        return
    found = {calls: measure(calls) for calls in SIZES}
    print("| calls | written, MB | memory before, MiB | peak, MiB |")
    print("| --- | --- | --- | --- |")
    for calls, figures in found.items():
        size = figures["bytes"] / 1e6
        print(f"| {calls:,} | {size:.0f} | {figures['before']:.0f} | {figures['peak']:.0f} |")
    small, large = (found[calls]["peak"] for calls in SIZES)
    each = (large - small) * 1024 * 1024 / (SIZES[1] - SIZES[0])
    print(f"\nTen times the calls take {large / small:.2f} times the memory: {each:.0f} bytes a call more,")
    print("of which some 150 are what proves a list complete (ids and their times of change).")


if __name__ == "__main__":
    main()
