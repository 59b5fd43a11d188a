"""Runs every benchmark, each in a process of its own: ``python -m benchmarks``.

``--rounds 3`` makes a quick run of it, ``--runs 2`` runs all of them twice. ``--write docs/performance.md``
puts the tables into the page, with a picture of each benchmark's tables above them.
"""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.plots import write_plots

TABLES = {
    "decode_page": "Decode a page",
    "fetch_pages": "Read pages over HTTP",
    "loop_stall": "Stall the event loop",
    "export_records": "Write records",
    "export_lists": "Export lists",
    "fetch_tables": "Fetch tables",
    "import_time": "Start",
    "count_requests": "Requests that a proof takes",
    "cover_time": "Time that a proof takes",
}
"""Of each benchmark the heading that its tables get."""
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
PEERS = ("aiohttp", "msgspec", "cattrs", "orjson", "httpx", "pydantic", "requests", "pandas", "pyarrow")


def run(name: str, *arguments: str) -> str:
    """Run one benchmark, show what it prints as it comes, and return it."""
    print(f"\n$ python -m benchmarks.{name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(process.returncode)
    return "".join(lines).strip()


def side_by_side(outputs: Sequence[str]) -> str:
    """Return the tables of several runs of one benchmark as one, with a column for each run.

    What stands in parentheses behind a measure is the first run's.
    """
    if len(outputs) == 1:
        return outputs[0]
    lines: list[str] = []
    for same in zip(*(output.splitlines() for output in outputs), strict=True):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in same]
        if not same[0].startswith("|"):
            lines.append(same[0])
            continue
        measure, _, goal, _ = rows[0]
        measured = [row[1] for row in rows]
        if measured[0] == "measured":
            measured = [f"run {number}" for number in range(1, len(rows) + 1)]
        reached = {row[3] for row in rows}
        cells = [measure, *measured, goal, reached.pop() if len(reached) == 1 else "not always"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def describe_machine() -> str:
    """Return the machine's shape and what was compared; nothing that tells whose machine it is."""
    peers = ", ".join(f"{name} {version(name)}" for name in PEERS)
    return f"{os.cpu_count()} cores; {platform.python_implementation()} {platform.python_version()}; {peers}."


def write_figures(page: Path, tables: list[str]) -> None:
    """Replace what stands between the page's two marks."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for figures: {BEGIN} ... {END}")
    picture = "![The tables below as bars; a line marks a goal](_static/performance/{}.svg)"
    sections = [
        f"### {heading}\n\n{picture.format(name)}\n\n{table}"
        for (name, heading), table in zip(TABLES.items(), tables, strict=True)
    ]
    figures = "\n\n".join((begin, describe_machine(), *sections, end))
    page.write_text(f"{before}{figures}{after}")
    write_plots(page, figures)


def main() -> None:
    """Run them all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, help="of every benchmark that has any")
    parser.add_argument("--runs", type=int, default=1, help="how often to run all of them")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this Markdown page")
    options = parser.parse_args()
    rounds = () if options.rounds is None else ("--rounds", str(options.rounds))
    runs = [[run(name, *rounds) for name in TABLES] for _ in range(max(options.runs, 1))]
    tables = [side_by_side(outputs) for outputs in zip(*runs, strict=True)]
    run("plan_pages")
    print(f"\n{describe_machine()}")
    if options.write is not None:
        write_figures(options.write, tables)


if __name__ == "__main__":
    main()
