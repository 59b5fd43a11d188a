"""What a sync reads, keeps and says; each in DuckDB and in Delta tables."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import duckdb
import pytest

from futureagi_async import (
    AgentVersionCalls,
    AuthenticationError,
    CallSource,
    ExportProgress,
    NotFoundError,
    RetryPolicy,
    RunTestCalls,
    Session,
    SyncError,
    SyncReport,
    TestExecutionCalls,
    sync_calls,
)
from futureagi_async.sync.decisions import Content
from futureagi_async.sync.job import SyncRequest, run_sync_job
from futureagi_async.sync.targets import read_sync_target
from futureagi_async.testing import StandInServer
from tests.support.databases import ENGINES, as_exported, calls_in, content_of, database_in, exported, rows_of
from tests.support.exports import StopHereError, details_asked, names_in, pages_asked, stop_after
from tests.support.sessions import UNKNOWN_ID, open_session
from tests.support.slow import slow

EACH_TIME = timedelta(0)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture(params=[ENGINES[0], *slow(*ENGINES[1:])])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name a database, in either engine."""
    return database_in(tmp_path, request.param)


def slim_list(server: StandInServer, calls: int = 30) -> RunTestCalls:
    return RunTestCalls(server.add_run_test(calls, slim=True))


@pytest.mark.anyio
async def test_the_first_sync_reads_everything(served: StandInServer, database: str, tmp_path: Path) -> None:
    """All rows are those of an export; sources and the sync have their rows; nothing else is left."""
    sources: list[CallSource] = [
        RunTestCalls(served.run_test_ids[0]),
        AgentVersionCalls(*served.agent_versions[0]),
        TestExecutionCalls(served.test_execution_ids[0]),
    ]
    async with open_session(served) as session:
        report = await sync_calls(session, sources, database)
        assert as_exported(database) == await exported(session, sources, tmp_path / "export")
    assert report.complete
    assert report.inserted == report.received == len(rows_of(database, "calls"))
    assert report.evaluations == len(rows_of(database, "evaluations")) > 0
    assert [each.mode for each in report.sources] == ["full"] * 3
    assert report.database == database
    by_id = {row["source_id"]: row for row in rows_of(database, "sources")}
    for each in report.sources:
        row = by_id[each.source_id]
        assert (row["verdict"], row["label"], row["named"]) == ("complete", str(each.source), True)
        assert row["complete_as_of"] == each.complete_as_of == each.read.complete_as_of
        assert row["full_read_at"] == row["synced_at"] == report.started_at
    (sync,) = rows_of(database, "syncs")
    assert (sync["number"], sync["inserted"], sync["schema_version"]) == (1, report.inserted, 1)
    assert sync["complete"]
    assert names_in(tmp_path) == {"export", "lake" if "delta" in database else "calls.duckdb"}
    if "delta" in database:
        assert names_in(tmp_path / "lake") == {"calls", "evaluations", "sources", "syncs"}


@pytest.mark.anyio
async def test_only_changes_are_read_again(served: StandInServer, database: str) -> None:
    """The second sync asks for one page of a list that was read in many, and says since when it read."""
    source = slim_list(served, 1_200)
    async with open_session(served) as session:
        first = await sync_calls(session, source, database)
        assert pages_asked(served) > 1
        second = await sync_calls(session, source, database)
    assert pages_asked(served) == 1
    (each,) = second.sources
    assert (each.mode, each.changed_since) == ("changes", first.sources[0].complete_as_of)
    assert (second.number, second.inserted, second.updated, second.deleted) == (2, 0, 0, 0)
    assert len(rows_of(database, "calls")) == 1_200


def delete_some(server: StandInServer, source: RunTestCalls) -> set[str]:
    """Delete the calls of one test execution of a run test; return their ids."""
    before = set(server.run_test_rows(source.run_test_id))
    server.delete_execution(server.run_test_executions(source.run_test_id)[0])
    return before - set(server.run_test_rows(source.run_test_id))


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_full_read_is_due_after_a_while(served: StandInServer, database: str) -> None:
    """After ``full_every`` all is read again, and what is gone is marked; its row and evaluations stay."""
    source = RunTestCalls(served.add_run_test(40, executions=(4,) * 10, slim=True))
    first_day = datetime(2026, 1, 1, tzinfo=UTC)

    async def sync_on(day: int) -> SyncReport:
        request = SyncRequest(
            session=session,
            sources=(source,),
            target=read_sync_target(database),
            content=Content(transcripts=False, provider_data=False),
            full_every=timedelta(days=30),
            page_size=100,
            max_outage=0,
            on_progress=None,
            now=lambda: first_day + timedelta(days=day),
        )
        return await run_sync_job(request)

    async with open_session(served) as session:
        await sync_on(0)
        calls, evaluations = len(rows_of(database, "calls")), len(rows_of(database, "evaluations"))
        gone = delete_some(served, source)
        assert (await sync_on(29)).sources[0].mode == "changes"
        assert not calls_in(database, deleted=True)
        report = await sync_on(30)
        assert (report.sources[0].mode, report.sources[0].why) == ("full", "A full read is due.")
        assert (await sync_on(31)).sources[0].mode == "changes"
    assert report.deleted == len(gone) > 0
    marked = calls_in(database, deleted=True)
    assert {id_ for _, id_ in marked} == gone
    assert {row["deleted_at"] for row in marked.values()} == {first_day + timedelta(days=30)}
    assert (len(rows_of(database, "calls")), len(rows_of(database, "evaluations"))) == (calls, evaluations)


@pytest.mark.anyio
async def test_an_incomplete_read_marks_nothing_and_moves_nothing(
    served: StandInServer, database: str
) -> None:
    """A list that could not be read whole keeps its moment, is read in full again, and loses no row."""
    source, other = RunTestCalls(served.add_run_test(40, executions=(4,) * 10, slim=True)), slim_list(served)
    async with open_session(served, retry=ONCE) as session:
        await sync_calls(session, [source, other], database)
        before = {row["source_id"]: row for row in rows_of(database, "sources")}
        gone = delete_some(served, source)
        served.poison(served.run_test_rows(source.run_test_id)[20])
        report = await sync_calls(session, [source, other], database, full_every=EACH_TIME)
        assert not report.complete
        assert [each.read.verdict for each in report.sources] == ["incomplete", "complete"]
        assert not calls_in(database, deleted=True)
        after = {row["source_id"]: row for row in rows_of(database, "sources")}
        mine, others = (each.source_id for each in report.sources)
        for name in ("complete_as_of", "full_read_at"):
            assert after[mine][name] == before[mine][name]
        assert after[others]["full_read_at"] == report.started_at
        assert (after[mine]["verdict"], after[others]["verdict"]) == ("incomplete", "complete")
        served.clear_faults()
        assert (await sync_calls(session, [source, other], database, full_every=EACH_TIME)).complete
    assert {id_ for _, id_ in calls_in(database, deleted=True)} == gone


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_list_that_was_never_complete_is_read_in_full(served: StandInServer, database: str) -> None:
    """What could be read is there at once; the next sync reads all of it, and says why."""
    source = slim_list(served, 40)
    served.poison(served.run_test_rows(source.run_test_id)[20])
    async with open_session(served, retry=ONCE) as session:
        first = await sync_calls(session, source, database)
        assert not first.complete
        assert 0 < len(calls_in(database)) < 40
        assert first.sources[0].complete_as_of is None
        served.clear_faults()
        second = await sync_calls(session, source, database)
    assert (second.complete, second.sources[0].why) == (True, "No earlier sync was complete.")
    assert len(calls_in(database)) == 40


@pytest.mark.slow
@pytest.mark.anyio
async def test_another_list_of_sources(served: StandInServer, database: str) -> None:
    """New sources are read whole beside changes of the others; those not named stay, and are reported."""
    first, second = slim_list(served), slim_list(served, 20)
    async with open_session(served) as session:
        await sync_calls(session, [first, first], database)
        report = await sync_calls(session, [first, second], database)
        assert [each.mode for each in report.sources] == ["changes", "full"]
        assert not report.no_longer_named
        report = await sync_calls(session, [second], database)
        assert report.no_longer_named == (first,)
        assert len(calls_in(database)) == 50
        named = {row["label"]: row["named"] for row in rows_of(database, "sources")}
        assert named == {str(first): False, str(second): True}
        again = await sync_calls(session, [first, second], database)
    assert [each.mode for each in again.sources] == ["changes", "changes"]
    assert not again.no_longer_named


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_call_in_two_lists_has_two_rows(served: StandInServer, database: str) -> None:
    """The key is source and id: filters make another source of the same list."""
    run_test = served.run_test_ids[0]
    async with open_session(served) as session:
        await sync_calls(
            session, [RunTestCalls(run_test), RunTestCalls(run_test, status="completed")], database
        )
    rows = rows_of(database, "calls")
    assert len({row["source_id"] for row in rows}) == 2
    assert len({row["id"] for row in rows}) < len(rows)


@pytest.mark.anyio
async def test_what_was_read_before_an_interruption_is_not_read_again(
    served: StandInServer, database: str, tmp_path: Path
) -> None:
    """Cut off while reading, the database is as before, and the next sync goes on from there."""
    source = slim_list(served, 1_100)
    async with open_session(served, max_in_flight=2) as session:
        with pytest.raises(StopHereError):
            await sync_calls(session, source, database, page_size=60, on_progress=stop_after(9))
        pages = pages_asked(served)
        assert not rows_of(database, "calls")
        report = await sync_calls(session, source, database, page_size=60)
    assert (report.complete, report.resumed, report.inserted) == (True, 1, 1_100)
    assert pages + pages_asked(served) < 1_100 / 60 * 1.1 + 6
    assert names_in(tmp_path) == {"lake" if "delta" in database else "calls.duckdb"}


@pytest.mark.anyio
async def test_other_options_of_the_session_begin_anew(served: StandInServer, database: str) -> None:
    """What an interrupted sync left for another session is of no use, and in nobody's way."""
    source = slim_list(served, 1_100)
    async with open_session(served, max_in_flight=2) as session:
        with pytest.raises(StopHereError):
            await sync_calls(session, source, database, page_size=60, on_progress=stop_after(5))
    async with open_session(served, max_response_bytes=2**20) as session:
        report = await sync_calls(session, source, database, page_size=60)
        assert report.complete
    assert len(calls_in(database)) == 1_100


def stop_before_merging(progress: ExportProgress) -> None:
    """End a sync when it has read everything."""
    if progress.phase == "merging":
        raise StopHereError


@pytest.mark.anyio
async def test_what_was_read_whole_is_merged_first(served: StandInServer, database: str) -> None:
    """Cut off before merging, the next sync merges what was read, and then reads what changed since."""
    source = slim_list(served)
    async with open_session(served) as session:
        with pytest.raises(StopHereError):
            await sync_calls(session, source, database, on_progress=stop_before_merging)
        assert not rows_of(database, "calls")
        report = await sync_calls(session, source, database)
    assert report.recovered is not None
    assert (report.recovered.number, report.recovered.inserted) == (1, 30)
    assert (report.number, report.sources[0].mode, report.inserted) == (2, "changes", 0)
    assert [row["number"] for row in sorted(rows_of(database, "syncs"), key=lambda row: row["number"])] == [
        1,
        2,
    ]


@pytest.mark.slow
@pytest.mark.anyio
async def test_transcripts_are_fetched_and_kept(served: StandInServer, database: str) -> None:
    """Details fill withheld transcripts; less later is refused, more reads everything again."""
    source = TestExecutionCalls(served.test_execution_ids[0])
    async with open_session(served) as session:
        await sync_calls(session, source, database)
        assert not any(row["transcript"] for row in rows_of(database, "calls"))
        served.clear_requests()
        report = await sync_calls(session, source, database, transcripts=True)
        assert report.sources[0].why == "More data was requested than its rows have."
        assert report.transcripts_fetched == len(details_asked(served)) > 0
        assert any(row["transcript"] for row in rows_of(database, "calls"))
        before = content_of(database)
        served.clear_requests()
        with pytest.raises(SyncError, match=r"have data from transcripts=True.*pass transcripts=True again"):
            await sync_calls(session, source, database)
        assert not served.requests
        assert content_of(database) == before
        again = await sync_calls(session, source, database, transcripts=True)
    assert again.sources[0].mode == "changes"


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_failed_detail_keeps_only_its_own_list_back(served: StandInServer, database: str) -> None:
    """Where a transcript could not be read, its list's moment stays, others move on."""
    failing, good = (TestExecutionCalls(served.add_test_execution(12)) for _ in range(2))
    victim = served.test_execution_rows(failing.test_execution_id)[3]
    served.fail(f"/call-executions/{victim}", times=1_000, status=500)
    async with open_session(served, retry=ONCE) as session:
        report = await sync_calls(session, [failing, good], database, transcripts=True)
        assert not report.complete
        assert len(report.transcript_failures) == 1
        moments = [each.complete_as_of for each in report.sources]
        assert (moments[0], moments[1] is None) == (None, False)
        assert len(calls_in(database)) == 24
        served.clear_faults()
        again = await sync_calls(session, [failing, good], database, transcripts=True)
    assert again.complete
    assert [each.mode for each in again.sources] == ["full", "changes"]


@pytest.mark.anyio
async def test_nothing_to_read_from_leaves_nothing(
    served: StandInServer, database: str, tmp_path: Path
) -> None:
    """An unknown list and refused keys raise as an export does; no database comes into being."""
    async with open_session(served) as session:
        with pytest.raises(NotFoundError):
            await sync_calls(session, RunTestCalls(UNKNOWN_ID), database)
    async with Session("wrong", "keys", served.base_url) as session:
        with pytest.raises(AuthenticationError):
            await sync_calls(session, slim_list(served), database)
    assert not rows_of(database, "syncs")
    assert not (tmp_path / "calls.duckdb").exists()


@pytest.mark.anyio
async def test_progress_goes_through_the_phases(served: StandInServer, database: str) -> None:
    """Reading, writing and merging are told, the last with its total."""
    told: list[ExportProgress] = []
    async with open_session(served) as session:
        await sync_calls(session, slim_list(served), database, on_progress=told.append)
    assert list(dict.fromkeys(each.phase for each in told)) == ["reading", "writing", "merging"]
    assert (told[-1].records, told[-1].total) == (30, 30)


@pytest.mark.anyio
async def test_two_syncs_at_once(served: StandInServer, database: str) -> None:
    """The second gets one clear error before any request, and the first is not disturbed."""
    source = slim_list(served)
    told: list[str] = []

    async def sync_again() -> None:
        async with open_session(served) as session:
            with pytest.raises(SyncError) as caught:
                await sync_calls(session, source, database)
        told.append(str(caught.value))

    def run_another(_: ExportProgress) -> None:
        if not told:
            other = Thread(target=asyncio.run, args=(sync_again(),))
            other.start()
            other.join()

    async with open_session(served) as session:
        report = await sync_calls(session, source, database, on_progress=run_another)
    assert (report.complete, len(calls_in(database))) == (True, 30)
    assert told == [f"Another sync to {database} is running. Wait until it ends, or choose another target."]


async def sync_without_waiting(session: Session, source: CallSource, database: str) -> SyncReport:
    """Sync, and do not wait for what else has the database open."""
    request = SyncRequest(
        session=session,
        sources=(source,),
        target=read_sync_target(database),
        content=Content(transcripts=False, provider_data=False),
        full_every=None,
        page_size=100,
        max_outage=0,
        on_progress=None,
        now=lambda: datetime.now(UTC),
        busy_seconds=0,
    )
    return await run_sync_job(request)


@contextmanager
def open_elsewhere(path: str) -> Iterator[None]:
    """Hold a DuckDB file open in another process."""
    script = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield
        finally:
            process.communicate("\n")


@pytest.mark.anyio
async def test_a_database_that_is_open_elsewhere(served: StandInServer, tmp_path: Path) -> None:
    """DuckDB lets one process write: the error says which has it open, and nothing was asked for."""
    source, database = slim_list(served), str(tmp_path / "calls.duckdb")
    async with open_session(served) as session:
        await sync_calls(session, source, database)
        served.clear_requests()
        with (
            open_elsewhere(database),
            pytest.raises(SyncError, match=r"is in use: .*PID [0-9]+.*run the sync again"),
        ):
            await sync_without_waiting(session, source, database)
        assert not served.requests
        report = await sync_without_waiting(session, source, database)
    assert report.complete


SETTINGS = "SELECT current_setting('memory_limit'), current_setting('threads')"


@pytest.mark.anyio
async def test_a_database_that_is_open_in_this_process(served: StandInServer, tmp_path: Path) -> None:
    """A service may read the database while it syncs it, and its settings stay as they were."""
    source, database = slim_list(served), str(tmp_path / "calls.duckdb")
    async with open_session(served) as session:
        await sync_calls(session, source, database)
        with duckdb.connect(database) as connection:
            connection.execute("SET memory_limit = '300MB'")
            before = connection.execute(SETTINGS).fetchall()
            report = await sync_without_waiting(session, source, database)
            assert connection.execute(SETTINGS).fetchall() == before
            assert connection.execute("SELECT max(number) FROM syncs").fetchall() == [(report.number,)]
        with (
            duckdb.connect(database, read_only=True),
            pytest.raises(SyncError, match=r"is in use: .*different configuration"),
        ):
            await sync_without_waiting(session, source, database)
