"""Kills exports into a bucket at each put and at random, resumes them, and compares with one left alone.

``python -m tests.long buckets`` kills each kind of export by SIGKILL before and after every request that
changes the bucket, at every so-many-th write to the disk, and at random moments, against moto's S3 server.
After every kill there may be no manifest without its parts; once resumed, the objects must be those of an
uninterrupted run, and nothing else may be in the bucket or on the disk. It prints a table.
"""

import argparse
import hashlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from futureagi_async.testing import StandInServer
from tests.long.crash import CALLS, KILLED, Export, Order
from tests.support.object_stores import BUCKET, Fault, S3Server, UnreliableStore, s3_server

PREFIX = "out/"
CHANGES = ("PUT ", "POST ", "DELETE ")


@attrs.define(frozen=True)
class Way:
    """One way to export into a bucket."""

    name: str
    options: Mapping[str, Any]
    repeats_bytes: bool = True
    """Whether two exports of a still list give the same bytes."""
    replaces: bool = False
    """Whether another export already exists."""


WAYS = (
    Way("JSON Lines as sent", {"part_rows": 200}, repeats_bytes=False),
    Way("JSON Lines, ordered, transcripts", {"part_rows": 300, "ordered": True, "transcripts": True}),
    Way("Parquet, ordered", {"part_rows": 400, "ordered": True, "format": "parquet"}),
    Way(
        "Parquet, in place of another",
        {"part_rows": 400, "ordered": True, "format": "parquet"},
        replaces=True,
    ),
)

QUICK = Way("JSON Lines, two parts", {"part_rows": 600, "ordered": True})


@attrs.define
class Tally:
    """What the kills of one way came to."""

    kills: int = 0
    exports: int = 0
    identical: int = 0
    broken: int = 0
    """Kills after which a manifest listed a part that was not there as listed."""
    leftovers: int = 0
    """Exports after which something was left that nobody lists, in the bucket or on the disk."""

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, broken or left."""
        return self.identical == self.exports and not self.broken and not self.leftovers


@attrs.define(frozen=True)
class Killer:
    """Kills an export when it has changed the bucket so often."""

    at: int
    answered: bool
    """Whether the store does what it was asked for before."""
    kill: Callable[[], None]
    seen: list[str] = attrs.field(factory=list)

    def __call__(self, request: str) -> Fault | None:
        if not request.startswith(CHANGES):
            return None
        self.seen.append(request)
        if len(self.seen) < self.at:
            return None
        if self.answered and len(self.seen) == self.at:
            return Fault(500, "InternalError", done=True, then=self.kill)
        self.kill()
        return Fault(500, "InternalError")  # to nobody


class Stage:
    """Servers, and a way to export in another process."""

    def __init__(
        self, server: StandInServer, store: S3Server, between: UnreliableStore, folder: Path
    ) -> None:
        self.store, self.between = store, between
        self._server, self._folder = server, folder
        self._lists = {
            "run_test": server.add_run_test(CALLS, tie_size=3, slim=True),
            "test_execution": server.add_test_execution(40, slim=True),
        }

    def start(self, way: Way, *, die_at: int = 0) -> Export:
        """Begin to export."""
        keys = (self._server.api_key, self._server.secret_key, self._server.base_url)
        options = {**way.options, "work_dir": str(self._folder)}
        environment = self.store.environment | {"AWS_ENDPOINT_URL": self.between.endpoint}
        return Export(Order(keys, self._lists, f"s3://{BUCKET}/{PREFIX}", options, die_at, environment))

    def prepare(self, way: Way) -> None:
        """Empty the bucket, or leave an incomplete export there that is to be replaced."""
        self.between.fault = lambda _: None
        self.store.clear()
        if way.replaces:
            old = Way("", {"part_rows": 150})
            assert self.start(old).wait() == 0
            manifest = json.loads(self.store.read(f"{PREFIX}_manifest.json"))
            self.store.write(f"{PREFIX}_manifest.json", incomplete(manifest))

    def finish(self, way: Way) -> int:
        """Export to the end; return how often the disk was touched."""
        self.between.fault = lambda _: None
        export = self.start(way)
        assert export.wait() == 0, export.exit_code
        return export.boundaries

    def is_broken(self) -> bool:
        """Whether there is a manifest without all of its parts."""
        objects = self.store.objects(PREFIX)
        if "_manifest.json" not in objects:
            return False
        parts = json.loads(objects["_manifest.json"])["parts"]
        return any(digest(objects.get(part["name"], b"")) != part["sha256"] for part in parts)

    def has_leftovers(self) -> bool:
        """Whether anything is there that the manifest does not list, or is still on the disk."""
        objects = self.store.objects(PREFIX)
        listed = {part["name"] for part in json.loads(objects["_manifest.json"])["parts"]}
        return objects.keys() - {"_manifest.json"} != listed or any(self._folder.iterdir())

    def content(self, way: Way) -> Any:
        """Return what the export holds: bytes where they repeat, else sorted lines."""
        objects = {name: data for name, data in self.store.objects(PREFIX).items() if name[0] != "_"}
        if way.repeats_bytes:
            # names in a replacement hold the replaced manifest's version, which has times in it
            return {
                (name.rpartition("-")[0] if way.replaces else name): data for name, data in objects.items()
            }
        return sorted(line for data in objects.values() for line in data.splitlines())


def digest(data: bytes) -> str:
    """Return the SHA-256."""
    return hashlib.sha256(data).hexdigest()


def incomplete(manifest: dict[str, Any]) -> bytes:
    """Return the manifest as of an export that is to be done again, with its digest."""
    manifest["complete"], manifest["digest"] = False, ""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return json.dumps({**manifest, "digest": digest(text.encode())}).encode()


def survive(stage: Stage, way: Way, reference: Any, tally: Tally, kill: Callable[[], bool]) -> None:
    """Kill one export, let it go on, and hold the result against the reference."""
    stage.prepare(way)
    tally.kills += kill()
    tally.broken += stage.is_broken()
    stage.finish(way)
    tally.exports += 1
    tally.identical += stage.content(way) == reference
    tally.broken += stage.is_broken()
    tally.leftovers += stage.has_leftovers()


def kill_at_change(stage: Stage, way: Way, at: int, *, answered: bool) -> bool:
    """Kill an export at a request that changes the bucket."""
    export = stage.start(way)
    stage.between.fault = Killer(at, answered, export.kill)
    return export.wait() == KILLED


def kill_after(stage: Stage, way: Way, seconds: float) -> bool:
    """Kill an export from outside."""
    export = stage.start(way)
    export.wait(seconds)
    export.kill()
    return export.wait() == KILLED


def run_way(stage: Stage, way: Way, *, random_kills: int, every: int, chance: random.Random) -> Tally:
    """Kill exports of one way."""
    tally = Tally()
    stage.prepare(way)
    began = time.monotonic()
    stage.between.requests.clear()
    boundaries = stage.finish(way)
    seconds = time.monotonic() - began
    changes = sum(request.startswith(CHANGES) for request in stage.between.requests)
    reference = stage.content(way)
    for at in range(1, changes + 1):
        for answered in (False, True):
            survive(
                stage,
                way,
                reference,
                tally,
                lambda a=at, b=answered: kill_at_change(stage, way, a, answered=b),
            )
    for boundary in range(1, boundaries + 1, every):
        survive(stage, way, reference, tally, lambda b=boundary: stage.start(way, die_at=b).wait() == KILLED)
    for _ in range(random_kills):
        moment = chance.uniform(0.0, 1.05) * seconds
        survive(stage, way, reference, tally, lambda m=moment: kill_after(stage, way, m))
    return tally


def table(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """Yield the lines of the table, in Markdown."""
    yield "| export into a bucket | kills | identical after going on | manifests without a part | left over |"
    yield "| --- | --- | --- | --- | --- |"
    for name, tally in tallies.items():
        identical = f"{tally.identical} of {tally.exports}"
        yield f"| {name} | {tally.kills} | {identical} | {tally.broken} | {tally.leftovers} |"


def run_all(*, random_kills: int, every: int, seed: int, ways: tuple[Way, ...] = WAYS) -> dict[str, Tally]:
    """Run every way; random kills are shared out among them."""
    chance, tallies = random.Random(seed), {}
    with (
        s3_server() as store,
        UnreliableStore(store) as between,
        StandInServer(demo=False, latency_seconds=0.01) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        stage = Stage(server, store, between, Path(folder))
        for place, way in enumerate(ways):
            share = random_kills // len(ways) + (place < random_kills % len(ways))
            tallies[way.name] = run_way(stage, way, random_kills=share, every=every, chance=chance)
            print(list(table({way.name: tallies[way.name]}))[-1], file=sys.stderr, flush=True)  # noqa: T201
    return tallies


def main() -> int:
    """Print the table; exit 1 if anything was lost, broken or left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=50, help="kills at random moments")
    parser.add_argument("--every", type=int, default=10, help="kill at each so-many-th write to the disk")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tallies = run_all(random_kills=arguments.random, every=arguments.every, seed=arguments.seed)
    print("\n".join(table(tallies)))  # noqa: T201
    return 0 if all(tally.is_good for tally in tallies.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
