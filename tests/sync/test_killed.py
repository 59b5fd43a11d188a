"""Syncs that are killed at each step: the database is as before or as after, and the next puts it right."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futureagi_async import CallSource, RunTestCalls, TestExecutionCalls, sync_calls
from futureagi_async.testing import Motion, StandInServer
from tests.support.databases import ENGINES, as_exported, calls_in, database_in, rows_of
from tests.support.killing import EACH_TIME, KILLED, Order, SyncProcess
from tests.support.sessions import open_session
from tests.support.slow import slow

CLOCKS = ("complete_as_of", "full_read_at", "synced_at")


@pytest.fixture
def moving() -> Iterator[StandInServer]:
    """Run a stand-in whose lists can move."""
    with StandInServer(demo=False, request_seconds=0.05) as running:
        yield running


def content(database: str) -> Any:
    """Return what a database holds, but for when it came."""
    sources = [
        {name: value for name, value in row.items() if name not in CLOCKS}
        for row in rows_of(database, "sources")
    ]
    return as_exported(database), sorted(calls_in(database, deleted=True)), sorted(sources, key=repr)


def order_of(server: StandInServer, sources: list[CallSource], database: str, die_at: int = 0) -> Order:
    keys = (server.api_key, server.secret_key, server.base_url)
    return Order(keys, sources, database, die_at, {"full_every": EACH_TIME})


STEPS = ("COMMIT", "close", "INSERT", "create", "write", "merge", "replace")
"""What changes the database, or lets what was read count as read; ``SYNC_KILLS=all`` takes every boundary."""


def chosen(boundaries: list[str], kills: str) -> list[int]:
    """Return at which boundaries to die: at one of each kind, and at all that write to Delta tables.

    Of these, a ``few`` are one that has written something, and the last.
    """
    if os.environ.get("SYNC_KILLS") == "all":
        return list(range(1, len(boundaries) + 1))
    places = {
        name if name.split()[0] not in ("create", "write", "merge", "replace") else number: number
        for number, name in enumerate(boundaries, start=1)
        if name.split()[0] in STEPS
    }
    every = [*places.values(), len(boundaries)]
    return every if kills == "many" else [every[len(every) // 2], every[-1]]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.anyio
@pytest.mark.parametrize("kills", ["few", *slow("many")])
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "there"])
@pytest.mark.parametrize("engine", [ENGINES[0], *slow(*ENGINES[1:])])
async def test_killed_at_each_step(
    moving: StandInServer, tmp_path: Path, engine: str, kills: str, *, is_new: bool
) -> None:
    """Whatever a sync stood before when it was killed, the tables are those of one moment."""
    sources: list[CallSource] = [
        RunTestCalls(moving.add_run_test(40, slim=True)),
        TestExecutionCalls(moving.add_test_execution(15, slim=True)),
    ]
    base = tmp_path / "base"
    base.mkdir()
    async with open_session(moving) as session:
        if not is_new:
            await sync_calls(session, sources, database_in(base, engine))
            moving.move(sources[0].run_test_id, Motion(updates=0.5, inserts=0.3, deletes=0.3))
            moving.clock.advance(30)
            moving.stop_motion()
        before = content(database_in(base, engine))
        whole = shutil.copytree(base, tmp_path / "whole")
        process = SyncProcess(order_of(moving, sources, database_in(whole, engine)))
        assert process.wait() == 0
        boundaries = process.boundaries
        after = content(database_in(whole, engine))
        assert before != after
        outcomes = set()
        for die_at in chosen(boundaries, kills):
            folder = shutil.copytree(base, tmp_path / f"killed-{die_at}")
            database = database_in(folder, engine)
            assert SyncProcess(order_of(moving, sources, database, die_at)).wait() == KILLED
            found = content(database)
            assert found in (before, after), boundaries[die_at - 1]
            outcomes.add(found == after)
            report = await sync_calls(session, sources, database, full_every=EACH_TIME)
            assert report.complete
            assert content(database) == after, boundaries[die_at - 1]
            assert {path.name for path in folder.iterdir()} == {Path(database).name}
            shutil.rmtree(folder)
    assert outcomes == {True, False}
