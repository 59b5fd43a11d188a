"""How much memory an export takes, and whether that grows with the number of calls.

Run ``python -m benchmarks.export_memory`` on Linux. Lists of small records are exported in every format and
in order, each longer than the one before: what is kept of every call shows as growth, and what is kept of
those on their way does not, once there are enough of them to fill it. Each export runs in a process of its
own, apart from the server, and tells the most memory that process ever held, interpreter and libraries
included.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from futureagi_async import RunTestCalls, Session, export_calls
from futureagi_async.testing import StandInServer

SIZES = (10_000, 100_000, 300_000)
WAYS = ("jsonl", "jsonl, ordered", "csv", "parquet")


def peak_mebibytes() -> float:
    """Return the most memory this program ever held; ``ru_maxrss`` would count what forked it, too."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


async def export(order: dict[str, str]) -> None:
    """Export one list, and print what it took."""
    async with Session(order["api_key"], order["secret_key"], order["base_url"], max_in_flight=8) as session:
        before = peak_mebibytes()
        source = RunTestCalls(order["run_test"])
        format_, _, ordered = order["way"].partition(", ")
        report = await export_calls(session, source, order["target"], format=format_, ordered=bool(ordered))
    assert report.complete
    figures = {"records": report.records, "before": before, "peak": peak_mebibytes(), "bytes": report.bytes}
    print(json.dumps(figures))


def measure(calls: int, way: str) -> dict[str, float]:
    """Export so many calls in a fresh process."""
    with StandInServer(demo=False) as server, tempfile.TemporaryDirectory() as folder:
        order = {
            "api_key": server.api_key,
            "secret_key": server.secret_key,
            "base_url": server.base_url,
            "run_test": server.add_run_test(calls, slim=True),
            "target": str(Path(folder, "out")),
            "way": way,
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
    print("| export | calls | written, MB | memory before, MiB | peak, MiB | against the line above |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for way in WAYS:
        fewer, smaller = 0, 0.0
        for calls in SIZES:
            figures = measure(calls, way)
            line = f"| {way} | {calls:,} | {figures['bytes'] / 1e6:.0f} | {figures['before']:.0f} | "
            growth = ""
            if smaller:
                each = (figures["peak"] - smaller) * 1024 * 1024 / (calls - fewer)
                growth = f"{figures['peak'] / smaller:.2f} times, {each:.0f} bytes a call more"
            print(f"{line}{figures['peak']:.0f} | {growth} |", flush=True)
            fewer, smaller = calls, figures["peak"]
    print("\nSome 30 bytes a call are the ids and times of change that tell records apart.")
    print("Parquet's encoders fill their buffers within the first tens of thousands of calls.")


if __name__ == "__main__":
    main()
