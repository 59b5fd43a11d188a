"""Syncs of lists that never stand still: in the end the database is what a complete export would be."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from futureagi_async import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls, sync_calls
from futureagi_async.testing import Motion, StandInServer
from tests.support.databases import ENGINES, as_exported, calls_in, database_in, exported
from tests.support.exports import ServerClock
from tests.support.sessions import open_session
from tests.support.slow import slow

SYNCS = [5, *slow(20)]
PAUSE_SECONDS = 15.0  # of the virtual clock, between syncs
EACH_TIME = timedelta(0)


@pytest.fixture
def moving() -> Iterator[StandInServer]:
    """Run a stand-in whose lists can move."""
    with StandInServer(demo=False, request_seconds=0.05) as running:
        yield running


def add_lists(server: StandInServer) -> list[CallSource]:
    """Add a list of each kind."""
    return [
        RunTestCalls(server.add_run_test(200, tie_size=3, slim=True)),
        AgentVersionCalls(*server.add_agent_version(80)),
        TestExecutionCalls(server.add_test_execution(60, slim=True)),
    ]


def set_in_motion(server: StandInServer, sources: list[CallSource], motion: Motion) -> None:
    for source in sources:
        match source:
            case AgentVersionCalls(agent, version):
                server.move((agent, version), motion)
            case RunTestCalls(list_id) | TestExecutionCalls(list_id):
                server.move(list_id, motion)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.anyio
@pytest.mark.parametrize("syncs", SYNCS)
@pytest.mark.parametrize("engine", [ENGINES[0], *slow(*ENGINES[1:])])
async def test_changes_add_up_to_a_complete_export(
    moving: StandInServer, tmp_path: Path, engine: str, syncs: int
) -> None:
    """After many syncs, all but the first of changes only, every row is that of an export at the end."""
    sources, database = add_lists(moving), database_in(tmp_path, engine)
    async with open_session(moving, clock=ServerClock(moving)) as session:
        set_in_motion(moving, sources, Motion(updates=0.3, inserts=0.2, tie_updates=0.02, tie_size=20))
        for number in range(1, syncs + 1):
            report = await sync_calls(session, sources, database, full_every=None)
            assert report.complete
            assert report.number == number
            assert {each.mode for each in report.sources} == {"full" if number == 1 else "changes"}
            assert number == 1 or report.received < 200
            moving.clock.advance(PAUSE_SECONDS)
        moving.stop_motion()
        assert (await sync_calls(session, sources, database, full_every=None)).complete
        assert as_exported(database) == await exported(session, sources, tmp_path / "export")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.anyio
@pytest.mark.parametrize("syncs", SYNCS)
@pytest.mark.parametrize("engine", [ENGINES[0], *slow(*ENGINES[1:])])
async def test_full_reads_find_what_was_deleted(
    moving: StandInServer, tmp_path: Path, engine: str, syncs: int
) -> None:
    """Deletions, which changes can't show, are marked by the next full read; every row ever seen stays."""
    sources, database = add_lists(moving), database_in(tmp_path, engine)
    motion = Motion(updates=0.2, inserts=0.2, deletes=0.1, soft_deletes=0.1, old_key_entries=0.05)
    seen: set[tuple[str, str]] = set()
    async with open_session(moving, clock=ServerClock(moving)) as session:
        set_in_motion(moving, sources, motion)
        for number in range(syncs):
            full_every = EACH_TIME if number % 5 == 4 else None
            report = await sync_calls(session, sources, database, full_every=full_every)
            assert report.complete
            seen |= calls_in(database).keys()
            moving.clock.advance(PAUSE_SECONDS)
        moving.stop_motion()
        assert (await sync_calls(session, sources, database, full_every=EACH_TIME)).complete
        assert as_exported(database) == await exported(session, sources, tmp_path / "export")
    gone = calls_in(database, deleted=True)
    assert len(gone) > syncs / 2
    assert seen <= gone.keys() | calls_in(database).keys()
