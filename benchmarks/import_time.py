"""What ``import futureagi_async`` costs beside ``import aiohttp``, which it needs.

Run ``python -m benchmarks.import_time``. Each import happens in a fresh interpreter and measures its
own CPU time; the first of each is left out, as it may write bytecode.
"""

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.rounds import Figure, Timings, print_table, read_rounds

GOAL = 1.15
MODULES = ("aiohttp", "futureagi_async", "httpx", "requests", "pydantic.main")
PROGRAM = """
import time
began = time.process_time()
import {module}
print(time.process_time() - began)
"""


def seconds_to_import(module: str) -> float:
    """Import in a fresh interpreter."""
    command = [sys.executable, "-c", PROGRAM.format(module=module)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def time_imports(rounds: int) -> Timings:
    """Import each module once a round."""
    seconds: dict[str, list[float]] = {module: [] for module in MODULES}
    for number in range(rounds + 1):
        for module in MODULES:
            taken = seconds_to_import(module)
            if number > 0:
                seconds[module].append(taken)
    return Timings(seconds)


def figures(rounds: int) -> Iterator[Figure]:
    """Compare each with aiohttp."""
    timings = time_imports(rounds)
    for module in MODULES[1:]:
        milliseconds = timings.microseconds(module) / 1000
        goal = GOAL if module == "futureagi_async" else None
        yield Figure(f"{module} ({milliseconds:.0f} ms)", timings.ratio(module, "aiohttp"), goal)


def main() -> None:
    """Print one table."""
    print_table("import, against aiohttp", figures(read_rounds(__doc__, default=15)))


if __name__ == "__main__":
    main()
