"""Resumes exports from what power cuts may leave on the disk, and compares with one left alone.

``python -m tests.long powercut`` records the system calls of real exports with strace, SQLite among them, and
builds 240 states that the disk may be in after a power cut at some moment (`tests.long.recorded_disk` says
which those are). It lays each down, exports again, and prints a table. The result must be that of an
uninterrupted run, and no manifest may stand there without its parts.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, product
from pathlib import Path, PurePath

import attrs

from futureagi_async.export import store, verify_export
from futureagi_async.testing import StandInServer
from tests.long.crash import CALLS, Order, Reference, Way, content_of, export, is_whole
from tests.long.recorded_disk import Fate, PowerCut, can_record, record, state_after

WAYS = (
    Way("JSON Lines, one file", "calls.jsonl", repeats_bytes=False),
    Way("JSON Lines, parts", "out", {"part_rows": 400}, repeats_bytes=False),
    Way("JSON Lines, parts, transcripts", "out", {"transcripts": True, "ordered": True, "part_rows": 400}),
    Way("Parquet, parts", "out", {"format": "parquet", "part_rows": 400}, repeats_bytes=False),
)
NEEDS_STRACE = "it records system calls by strace, which is missing or not permitted: apt-get install strace"
SYNC_BYTES = 60_000
"""How much is written between two syncs while recording: else an export this short would have but one."""

_LAST_EVENTS = 40
"""Half of all cuts come after one of these: where files get their names, there is the most to lose."""
_FATES: tuple[Fate, ...] = ("lost", "kept", "torn")


@attrs.define
class Tally:
    """What the power cuts of one way came to."""

    events: int = 0
    """Writes, syncs and changes of names in the recording."""
    states: int = 0
    identical: int = 0
    partial: int = 0
    """States in which something unfinished stood under a final name."""
    fewest_pages: int = sys.maxsize
    """Pages that were read again, after one cut and after another."""
    most_pages: int = 0


@attrs.define(frozen=True)
class Scene:
    """A server with still lists, and exports of them."""

    server: StandInServer
    folder: Path
    lists: Mapping[str, str]

    @classmethod
    def on(cls, server: StandInServer, folder: Path) -> "Scene":
        """Make the lists."""
        lists = {
            "run_test": server.add_run_test(CALLS, tie_size=3, slim=True),
            "test_execution": server.add_test_execution(20, slim=True),
        }
        return cls(server, folder, lists)

    def order(self, way: Way, target: Path) -> Order:
        """Say what to export where."""
        keys = (self.server.api_key, self.server.secret_key, self.server.base_url)
        return Order(keys, self.lists, str(target), way.options)

    def new_folder(self) -> Path:
        """Return an empty folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))


def run_way(scene: Scene, way: Way, *, states: int, chance: random.Random) -> Tally:
    """Cut the power at so many moments of an export."""
    folder = scene.new_folder()
    order = json.dumps(attrs.asdict(scene.order(way, folder / way.target)))
    events = record([sys.executable, "-m", "tests.long.powercut", "--export", order], folder)
    reference = Reference(content_of(way, folder / way.target), boundaries=0, seconds=0.0, pages=0)
    tally = Tally(events=len(events))
    fates = cycle(product(_FATES, _FATES))
    for number in range(states):
        content, names = next(fates)
        first = 1 if number % 2 else len(events) - _LAST_EVENTS
        cut = PowerCut(chance.randint(first, len(events)), content, names)
        lay_down(state_after(events, cut, chance), folder)
        survive(scene, way, folder / way.target, reference, tally)
    return tally


def lay_down(state: Mapping[PurePath, bytes | None], folder: Path) -> None:
    """Make a folder hold just what the disk does."""
    shutil.rmtree(folder)
    folder.mkdir()
    for path, content in sorted(state.items()):
        if content is None:
            Path(path).mkdir(0o700)
        else:
            Path(path).write_bytes(content)


def survive(scene: Scene, way: Way, target: Path, reference: Reference, tally: Tally) -> None:
    """Export once more, and hold the result against the reference.

    The recorded disk has neither the extended attributes nor the times by which an export knows its own file:
    it overwrites.
    """
    tally.states += 1
    tally.partial += not is_whole(way, target, reference)
    scene.server.clear_requests()
    export(scene.order(attrs.evolve(way, options={**way.options, "overwrite": True}), target))
    asked = sum("limit" in request.query for request in scene.server.requests)
    tally.fewest_pages, tally.most_pages = min(tally.fewest_pages, asked), max(tally.most_pages, asked)
    tally.identical += content_of(way, target) == reference.content
    tally.partial += target.is_dir() and not verify_export(target).ok
    left = {path.name for path in target.parent.iterdir()} - {target.name}
    assert not left, left


def table(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """Yield the lines of the table, in Markdown."""
    titles = (
        "export",
        "events",
        "states",
        "identical after going on",
        "partial files seen",
        "pages read again",
    )
    yield f"| {' | '.join(titles)} |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, tally in tallies.items():
        identical = f"{tally.identical} of {tally.states}"
        pages = f"{tally.fewest_pages} to {tally.most_pages}"
        yield f"| {name} | {tally.events} | {tally.states} | {identical} | {tally.partial} | {pages} |"


def run_all(*, states: int, seed: int, ways: Sequence[Way] = WAYS) -> dict[str, Tally]:
    """Run every way; states are shared out among them."""
    chance, tallies = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as folder, StandInServer(demo=False) as server:
        scene = Scene.on(server, Path(folder).resolve())
        for place, way in enumerate(ways):
            share = states // len(ways) + (place < states % len(ways))
            tallies[way.name] = run_way(scene, way, states=share, chance=chance)
            print(list(table({way.name: tallies[way.name]}))[-1], file=sys.stderr, flush=True)  # noqa: T201
    return tallies


def is_good(tally: Tally) -> bool:
    """Whether nothing was lost, doubled or seen unfinished."""
    return tally.identical == tally.states and tally.partial == 0


def main() -> int:
    """Print the table; exit 1 if anything was lost, doubled or seen unfinished, 2 without strace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=240, help="states to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", help=argparse.SUPPRESS)  # what is recorded
    arguments = parser.parse_args()
    if arguments.export is not None:
        store._SYNC_BYTES = SYNC_BYTES
        export(Order(**json.loads(arguments.export)))
        return 0
    if not can_record():
        print(f"Can't run: {NEEDS_STRACE}.", file=sys.stderr)  # noqa: T201
        return 2
    tallies = run_all(states=arguments.states, seed=arguments.seed)
    print("\n".join(table(tallies)))  # noqa: T201
    return 0 if all(map(is_good, tallies.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
