"""Kills exports in shares at every moment there is, runs them again, and compares with a single export.

``python -m tests.long shares`` plans, exports three shares and commits them in a process that kills itself by
SIGKILL at each single write, sync, link, rename, removal and SQLite commit, and prints a table. After every
kill there may be no manifest without its parts; once the same was run again, the files must be those of a
single export, each share must have one receipt, and at most the share under way may have been read again.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from futureagi_async import (
    CallSource,
    RunTestCalls,
    Session,
    TestExecutionCalls,
    commit_shares,
    export_calls,
    export_share,
    plan_shares,
    verify_export,
)
from futureagi_async.testing import StandInServer
from tests.long.crash import KILLED, Export, Order

OPTIONS = {"format": "parquet", "ordered": True, "partition": "source", "part_rows": 50}
"""By which the files of a share are, byte for byte, those of a single export."""


@attrs.define
class Tally:
    """What the kills came to."""

    kills: int = 0
    identical: int = 0
    partial: int = 0
    """Kills after which a manifest stood without its parts."""
    leftovers: int = 0
    """Runs after which something was left in the target, a share had not one receipt, or the staging did
    not say where it went."""
    read_twice: int = 0
    """The most requests that running again after one kill cost beyond those of a run left alone."""

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, doubled, left or seen unfinished."""
        return self.identical == self.kills and not self.partial and not self.leftovers


def sources_of(order: Order) -> list[CallSource]:
    """Return the lists, each of which becomes a share."""
    lists = order.lists
    return [
        RunTestCalls(lists["long"]),
        RunTestCalls(lists["short"]),
        TestExecutionCalls(lists["test_execution"]),
    ]


def share_out(order: Order) -> None:
    """Plan, export and commit, as much as is left to do."""
    folder = Path(order.target)

    async def run() -> None:
        async with Session(*order.keys) as session:
            shares = await plan_shares(
                session, sources_of(order), 1, staging=folder / "staging", **order.options
            )
            receipts = [await export_share(session, share, folder / "staging") for share in shares]
        await commit_shares(receipts, folder / "staging", folder / "out")

    asyncio.run(run())


class Stage:
    """A server with still lists, and what a single export makes of them."""

    def __init__(self, server: StandInServer, folder: Path) -> None:
        self.server, self._folder = server, folder
        lists = {
            "long": server.add_run_test(120, slim=True),
            "short": server.add_run_test(30, slim=True),
            "test_execution": server.add_test_execution(40, slim=True),
        }
        self._order = Order((server.api_key, server.secret_key, server.base_url), lists, "", OPTIONS)
        self.alone = self._export_alone()

    def _export_alone(self) -> dict[str, bytes]:
        target = self.new_target()

        async def run() -> None:
            async with Session(*self._order.keys) as session:
                await export_calls(session, sources_of(self._order), target, **OPTIONS)

        asyncio.run(run())
        return parts_in(target)

    def new_target(self) -> Path:
        """Return an empty folder."""
        return Path(tempfile.mkdtemp(dir=self._folder))

    def run(self, target: Path, *, die_at: int = 0) -> Export:
        """Share the export out, in a process that kills itself at a boundary, counted from 1."""
        running = Export(attrs.evolve(self._order, target=str(target), die_at=die_at), share_out)
        running.wait()
        return running

    def requests(self) -> int:
        """Count what was asked for, and forget it."""
        number = len(self.server.requests)
        self.server.clear_requests()
        return number


def parts_in(target: Path) -> dict[str, bytes]:
    """Return the files of an export but its manifest."""
    files = {str(path.relative_to(target)): path for path in target.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "_manifest.json"}


def survive(stage: Stage, boundary: int, alone: int, tally: Tally) -> None:
    """Kill one run, run it again, and hold the result against a single export."""
    folder = stage.new_target()
    target = folder / "out"
    assert stage.run(folder, die_at=boundary).exit_code == KILLED
    tally.kills += 1
    tally.partial += (target / "_manifest.json").exists() and not verify_export(target).ok
    assert stage.run(folder).exit_code == 0
    tally.identical += parts_in(target) == stage.alone and verify_export(target).ok
    receipts = [path.name for path in (folder / "staging" / "receipts").glob("*.json")]
    is_noted = (folder / "staging" / "committed.json").exists()
    tally.leftovers += len(receipts) != 3 or (target / ".export").exists() or not is_noted
    tally.read_twice = max(tally.read_twice, stage.requests() - alone)


def run_all(*, every: int, last: int = 0) -> Tally:
    """Kill at each ``every``-th boundary; of the ``last`` ones, if given, which are those of the commit."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder, StandInServer(demo=False) as server:
        stage = Stage(server, Path(folder))
        stage.requests()
        reference = stage.run(stage.new_target())
        assert reference.exit_code == 0
        alone = stage.requests()
        boundaries = reference.boundaries
        for boundary in range(max(1, boundaries - last) if last else 1, boundaries + 1, every):
            survive(stage, boundary, alone, tally)
    return tally


def table(tally: Tally) -> Iterator[str]:
    """Yield the lines of the table, in Markdown."""
    yield "| kills | as a single export | partial exports seen | leftovers | most requests twice |"
    yield "| --- | --- | --- | --- | --- |"
    identical = f"{tally.identical} of {tally.kills}"
    yield f"| {tally.kills} | {identical} | {tally.partial} | {tally.leftovers} | {tally.read_twice} |"


def main() -> int:
    """Print the table; exit 1 if anything was lost, doubled, left or seen unfinished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="kill at each so-many-th boundary")
    tally = run_all(every=parser.parse_args().every)
    print("\n".join(table(tally)))  # noqa: T201
    return 0 if tally.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
