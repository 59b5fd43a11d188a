"""What ``import futureagi_async`` costs beside ``import aiohttp``, which it needs.

Run ``python -m benchmarks.import_time``. Each import happens in a fresh interpreter and measures its
own CPU time; the first of each is left out, as it may write bytecode.
"""

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.rounds import Figure, Timings, print_table, read_rounds

GOAL = 1.15
AIOHTTP, OURS = "import aiohttp", "import futureagi_async"
STATEMENTS = (
    AIOHTTP,
    OURS,
    "from futureagi_async import Session",
    "import httpx",
    "import requests",
    "import pydantic.main",
)
PROGRAM = """
import time
began = time.process_time()
{statement}
print(time.process_time() - began)
"""


def seconds_to_import(statement: str) -> float:
    """Import in a fresh interpreter."""
    command = [sys.executable, "-c", PROGRAM.format(statement=statement)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def time_imports(rounds: int) -> Timings:
    """Import each once a round."""
    seconds: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for number in range(rounds + 1):
        for statement in STATEMENTS:
            taken = seconds_to_import(statement)
            if number > 0:
                seconds[statement].append(taken)
    return Timings(seconds)


def figures(rounds: int) -> Iterator[Figure]:
    """Compare each with aiohttp. The package looks up its names when they are first used."""
    timings = time_imports(rounds)
    for statement in STATEMENTS[1:]:
        milliseconds = timings.microseconds(statement) / 1000
        goal = GOAL if "futureagi_async" in statement else None
        yield Figure(f"{statement} ({milliseconds:.0f} ms)", timings.ratio(statement, AIOHTTP), goal)


def main() -> None:
    """Print one table."""
    print_table("import, against aiohttp", figures(read_rounds(__doc__, default=15)))


if __name__ == "__main__":
    main()
