"""Kills syncs at random moments, lets the next one go on, and compares with one that was left alone.

``python -m tests.long syncs`` kills 40 syncs by SIGKILL, half of them into DuckDB and half into Delta tables.
After every kill the tables must be those before the sync or those after it; after the next sync they must be
those after it. `tests/sync/test_killed.py` kills at chosen steps, with ``SYNC_KILLS=all`` at every one.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import attrs

from futureagi_async import CallSource, RunTestCalls, Session, TestExecutionCalls, sync_calls
from futureagi_async.testing import Motion, StandInServer
from tests.support.databases import ENGINES, database_in
from tests.support.killing import EACH_TIME, KILLED, SyncProcess
from tests.sync.test_killed import content, order_of

CALLS = 600


@attrs.define
class Tally:
    """What the kills of one engine came to."""

    kills: int = 0
    before: int = 0
    after: int = 0
    torn: int = 0
    """Tables that were neither as before nor as after."""
    wrong: int = 0
    """Tables that the next sync did not put right."""


async def kill_some(
    server: StandInServer, engine: str, folder: Path, kills: int, chance: random.Random
) -> Tally:
    """Kill syncs that go on with one database, each from the same state."""
    tally, base = Tally(), folder / "base"
    base.mkdir()
    moved = RunTestCalls(server.add_run_test(CALLS, slim=True))
    sources: list[CallSource] = [moved, TestExecutionCalls(server.add_test_execution(40, slim=True))]
    async with Session(server.api_key, server.secret_key, server.base_url) as session:
        await sync_calls(session, sources, database_in(base, engine))
        server.move(moved.run_test_id, Motion(updates=2, inserts=1, deletes=1))
        server.clock.advance(60)
        server.stop_motion()
        before = content(database_in(base, engine))
        for name in ("warm", "whole"):  # the first one also waits for all imports
            whole = shutil.copytree(base, folder / name)
            began = time.monotonic()
            assert SyncProcess(order_of(server, sources, database_in(whole, engine))).wait() == 0
            seconds, after = time.monotonic() - began, content(database_in(whole, engine))
        for number in range(kills):
            killed = shutil.copytree(base, folder / f"killed-{number}")
            database = database_in(killed, engine)
            process = SyncProcess(order_of(server, sources, database))
            process.wait(chance.uniform(0.0, 1.05) * seconds)
            process.kill()
            tally.kills += process.wait() == KILLED
            found = content(database)
            tally.before += found == before
            tally.after += found == after
            tally.torn += found not in (before, after)
            await sync_calls(session, sources, database, full_every=EACH_TIME)
            tally.wrong += content(database) != after
            shutil.rmtree(killed)
    return tally


def run_all(kills: int, seed: int) -> dict[str, Tally]:
    """Kill syncs into each engine."""
    chance, tallies = random.Random(seed), {}
    for engine in ENGINES:
        with (
            tempfile.TemporaryDirectory() as name,
            StandInServer(demo=False, request_seconds=0.05) as server,
        ):
            tallies[engine] = asyncio.run(kill_some(server, engine, Path(name), kills // 2, chance))
    return tallies


def main() -> int:
    """Print a line an engine; exit 1 if any tables were torn, or not put right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tallies = run_all(arguments.kills, arguments.seed)
    print("| engine | kills | as before | as after | torn | not put right |")  # noqa: T201
    print("| --- | --- | --- | --- | --- | --- |")  # noqa: T201
    for engine, tally in tallies.items():
        print(f"| {engine} | {' | '.join(map(str, attrs.astuple(tally)))} |")  # noqa: T201
    return int(any(tally.torn or tally.wrong for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
