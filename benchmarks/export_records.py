"""What exporting calls as JSON Lines costs beyond writing the same bytes to a file.

Run ``python -m benchmarks.export_records``. Pages are read and decoded beforehand; both sides write
to the same directory and bring their file onto the disk. CPU includes the system's share.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from benchmarks import ours
from benchmarks.pages import VOICE, make_page
from benchmarks.rounds import Figure, Run, interleave, print_table, read_rounds
from futureagi_async import CallPage, FetchReport, export_calls

GOAL = 1.3
PAGES = 20
ROWS = 100
_BUFFER_BYTES = 256 * 1024


@attrs.define(frozen=True)
class ReadBefore:
    """Stands in for a session whose pages are here already."""

    read: list[CallPage]
    report: FetchReport = attrs.field(factory=lambda: FetchReport(()))

    @asynccontextmanager
    async def stream_calls(self, *_: object, **__: object) -> AsyncIterator[Any]:
        """Open a stream of the pages."""
        yield self

    async def pages(self) -> AsyncIterator[CallPage]:
        """Yield the pages."""
        for page in self.read:
            yield page


def write_bytes(records: list[bytes], target: Path) -> None:
    """Write lines as a script would that has them."""
    with target.open("wb", _BUFFER_BYTES) as file:
        file.writelines(b"%b\n" % record for record in records)
        file.flush()
        os.fsync(file.fileno())


def figures(rounds: int) -> Iterator[Figure]:
    """Compare both ways of `export_calls` with plain writing."""
    session = ReadBefore([ours.decode(make_page(VOICE, rows=ROWS, seed=seed)) for seed in range(PAGES)])
    records = [call.raw for page in session.read for call in page.calls]
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        exported, written = Path(folder, "calls.jsonl"), Path(folder, "lines.jsonl")

        def export(*, include_provider_data: bool) -> None:
            runner.run(
                export_calls(session, ours.SOURCE, exported, include_provider_data=include_provider_data)
            )

        rivals: dict[str, Run] = {
            "writing the bytes": partial(write_bytes, records, written),
            "export_calls": partial(export, include_provider_data=False),
            "export_calls, include_provider_data": partial(export, include_provider_data=True),
        }
        timings = interleave(rivals, rounds=rounds)
        assert exported.read_bytes() == written.read_bytes()
    for name in rivals:
        each = timings.microseconds(name, units=len(records))
        goal = GOAL if name == "export_calls" else None
        yield Figure(f"{name} ({each:.1f} µs a record)", timings.ratio(name, "writing the bytes"), goal)


def main() -> None:
    """Print one table."""
    print_table("JSON Lines, 9.8 kB a record, CPU", figures(read_rounds(__doc__, default=15)))


if __name__ == "__main__":
    main()
