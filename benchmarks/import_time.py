"""What ``import futureagi_async`` costs beside ``import aiohttp``, and commands beside ``import rich``.

Run ``python -m benchmarks.import_time``. Each import happens in a fresh interpreter and measures its
own CPU time; of commands the whole process counts. All find bytecode, as installed packages do: the first of
each, which writes it into a directory of the benchmark's, is left out.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from benchmarks.rounds import Figure, Timings, print_table, read_rounds

GOAL, HELP_GOAL = 1.1, 1.5
AIOHTTP, OURS = "import aiohttp", "import futureagi_async"
FIRST_SESSION = "from futureagi_async import Session; Session('key', 'secret')"
STATEMENTS = (
    AIOHTTP,
    OURS,
    "from futureagi_async import Session",
    FIRST_SESSION,
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
RICH = 'python -c "import rich"'
COMMANDS = {
    RICH: ("-c", "import rich"),
    "futureagi-async --help": ("-m", "futureagi_async", "--help"),
    'python -c "import cyclopts, rich.console", which it needs': ("-c", "import cyclopts, rich.console"),
    "futureagi-async export --help": ("-m", "futureagi_async", "export", "--help"),
    "futureagi-async kpis --demo": ("-m", "futureagi_async", "kpis", "--demo"),
}


def run_python(arguments: Sequence[str], cache: str) -> str:
    """Run a fresh interpreter that keeps its bytecode in a directory, and return what it printed."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables["PYTHONPYCACHEPREFIX"] = cache
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=variables).stdout


def seconds_to_import(statement: str, cache: str) -> float:
    """Import in a fresh interpreter."""
    return float(run_python(("-c", PROGRAM.format(statement=statement)), cache))


def seconds_to_run(command: str, cache: str) -> float:
    """Run a command, from the start of its interpreter to the end."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_python(COMMANDS[command], cache)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime


def time_each(names: Sequence[str], measure: Callable[[str, str], float], rounds: int) -> Timings:
    """Measure each once a round."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as cache:
        for number in range(rounds + 1):
            for name in names:
                taken = measure(name, cache)
                if number > 0:
                    seconds[name].append(taken)
    return Timings(seconds)


def import_figures(rounds: int) -> Iterator[Figure]:
    """Compare each with aiohttp, which the first session loads. Names are looked up when they are used."""
    timings = time_each(STATEMENTS, seconds_to_import, rounds)
    for statement in STATEMENTS[1:]:
        milliseconds = timings.microseconds(statement) / 1000
        goal = GOAL if "futureagi_async" in statement and statement != FIRST_SESSION else None
        yield Figure(f"{statement} ({milliseconds:.0f} ms)", timings.ratio(statement, AIOHTTP), goal)


def command_figures(rounds: int) -> Iterator[Figure]:
    """Compare each with rich."""
    timings = time_each(list(COMMANDS), seconds_to_run, rounds)
    for command in list(COMMANDS)[1:]:
        milliseconds = timings.microseconds(command) / 1000
        goal = HELP_GOAL if command.endswith("async --help") else None
        yield Figure(f"{command} ({milliseconds:.0f} ms)", timings.ratio(command, RICH), goal)


def main() -> None:
    """Print both tables."""
    rounds = read_rounds(__doc__, default=15)
    print_table("import, against aiohttp", import_figures(rounds))
    print_table(f"whole processes, against {RICH}", command_figures(rounds))


if __name__ == "__main__":
    main()
