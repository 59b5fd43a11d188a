"""Databases that a sync refuses or migrates, and wrong arguments: one clear error, before any request."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from futureagi_async import RunTestCalls, Session, SyncError, sync_calls
from futureagi_async.sync.decisions import Commit, ForeignCommitError, version_to_restore
from futureagi_async.sync.schema import CALLS, DELTA_SYNCS, TABLES, source_id_of
from futureagi_async.testing import StandInServer
from tests.support.databases import as_exported, database_in, exported, rows_of
from tests.support.exports import names_in
from tests.support.sessions import open_session


async def refusal(served: StandInServer, database: str) -> str:
    """Return why a database is not synced; nothing is asked for."""
    source = RunTestCalls(served.run_test_ids[0])
    async with open_session(served) as session:
        served.clear_requests()
        with pytest.raises(SyncError) as caught:
            await sync_calls(session, source, database)
    assert not served.requests
    return str(caught.value)


async def sync_once(served: StandInServer, database: str) -> None:
    async with open_session(served) as session:
        await sync_calls(session, RunTestCalls(served.run_test_ids[0]), database)


@pytest.mark.anyio
async def test_duckdb_files_that_are_not_ours(served: StandInServer, tmp_path: Path) -> None:
    """Another database, and a file that is none, are left as they are; an empty database is used."""
    other = str(tmp_path / "other.duckdb")
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE calls (id INTEGER)")
    refused = await refusal(served, other)
    assert refused.endswith("is a database that no sync made (its table: calls). Choose another file.")
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE b (id INTEGER)")
    assert (await refusal(served, other)).endswith("(its tables: b, calls). Choose another file.")
    text = tmp_path / "text.duckdb"
    text.write_text("not a database")
    refused = await refusal(served, str(text))
    assert "not a valid DuckDB database file" in refused
    assert refused.endswith(" Choose another file.")
    assert text.read_text() == "not a database"
    missing = tmp_path / "missing" / "calls.duckdb"
    assert "there is no directory" in await refusal(served, str(missing))
    assert "text.duckdb is a file, not a directory." in await refusal(served, str(text / "calls.duckdb"))
    below = f"delta://{text / 'calls'}"
    assert "text.duckdb is a file, not a directory." in await refusal(served, below)
    long = tmp_path / f"{'x' * 245}.duckdb"
    assert (await refusal(served, str(long))).startswith(f"Can't write {long}: ")
    empty = str(tmp_path / "empty.duckdb")
    duckdb.connect(empty).close()
    await sync_once(served, empty)
    assert rows_of(empty, "calls")


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE syncs SET schema_version = 99", "made by a newer futureagi-async (schema_version 99"),
        ("ALTER TABLE calls ADD COLUMN mine TEXT", "columns that this version does not know: mine."),
        ("DROP TABLE evaluations", "is a database that no sync made"),
        ("UPDATE sources SET source = '{}'", "its table sources was changed"),
    ],
)
async def test_duckdb_files_that_were_changed(
    served: StandInServer, tmp_path: Path, statement: str, expected: str
) -> None:
    """What another version or another hand made of our tables is refused; tables of one's own are not."""
    database = str(tmp_path / "calls.duckdb")
    await sync_once(served, database)
    with duckdb.connect(database) as connection:
        connection.execute("CREATE TABLE mine AS SELECT id FROM calls")
        connection.execute("CREATE VIEW failed AS SELECT * FROM calls WHERE status = 'failed'")
    await sync_once(served, database)
    with duckdb.connect(database) as connection:
        connection.execute(statement)
    assert expected in await refusal(served, database)


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_duckdb_file_of_an_older_version(served: StandInServer, tmp_path: Path) -> None:
    """Columns that it lacks are added, and filled by a full read, in the same transaction."""
    database = str(tmp_path / "calls.duckdb")
    make_older_database(database, served)
    sources = [RunTestCalls(run_test_id) for run_test_id in served.run_test_ids[:2]]
    async with open_session(served) as session:
        report = await sync_calls(session, sources, database)
        assert as_exported(database) == await exported(session, sources, tmp_path / "export")
        again = await sync_calls(session, sources, database)
    assert [each.mode for each in report.sources] == ["full", "full"]
    assert report.number == 8
    assert [each.mode for each in again.sources] == ["changes", "changes"]
    (kept,) = [row for row in rows_of(database, "calls") if row["id"] == "a call of long ago"]
    assert (kept["status"], kept["deleted_at"]) == ("completed", report.started_at)
    versions = {row["number"]: row["schema_version"] for row in rows_of(database, "syncs")}
    assert versions == {7: 0, 8: 1, 9: 1}


def make_older_database(database: str, served: StandInServer) -> None:
    """Make the tables as a version might have that knew fewer columns."""
    source = RunTestCalls(served.run_test_ids[0])
    with duckdb.connect(database) as connection:
        connection.execute("CREATE TABLE calls (source_id TEXT, id TEXT, status TEXT, timestamp TIMESTAMPTZ)")
        connection.execute("CREATE TABLE evaluations (source_id TEXT, call_id TEXT, evaluation_id TEXT)")
        connection.execute("CREATE TABLE sources (source_id TEXT, source TEXT, complete_as_of TIMESTAMPTZ)")
        connection.execute("CREATE TABLE syncs (number INTEGER, schema_version INTEGER)")
        key = source_id_of(source)
        connection.execute(
            "INSERT INTO calls VALUES ($key, 'a call of long ago', 'completed', '2020-01-01 00:00:00Z')",
            {"key": key},
        )
        connection.execute(
            "INSERT INTO sources VALUES ($key, $fields, '2030-01-01 00:00:00Z')",
            {"key": key, "fields": json.dumps(source.to_dict())},
        )
        connection.execute("INSERT INTO syncs VALUES (7, 0)")


@pytest.mark.slow
@pytest.mark.anyio
async def test_delta_tables_of_an_older_version(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns that a table lacks are added, and filled by a full read."""
    database = database_in(tmp_path, "delta")
    fewer = {name: kind for name, kind in CALLS.items() if name != "misfits"}
    sources = [RunTestCalls(served.run_test_ids[0])]
    with monkeypatch.context() as patched:
        older = {**TABLES, "syncs": DELTA_SYNCS, "calls": fewer}
        patched.setattr("futureagi_async.sync.delta.COLUMNS", older)
        patched.setattr("futureagi_async.sync.staging.CALLS", fewer)
        await sync_once(served, database)
    async with open_session(served) as session:
        report = await sync_calls(session, sources, database)
        assert as_exported(database) == await exported(session, sources, tmp_path / "export")
    assert report.sources[0].mode == "full"


@pytest.mark.anyio
async def test_delta_tables_that_are_not_ours(served: StandInServer, tmp_path: Path) -> None:
    """A directory that is a table, or in which a table stands that no sync made, is refused."""
    rows = pa.table({"id": ["1"]})
    write_deltalake(tmp_path / "table", rows)
    assert "is a Delta table itself" in await refusal(served, f"delta://{tmp_path}/table")
    write_deltalake(tmp_path / "lake" / "calls", rows)
    assert "is a table that no sync made" in await refusal(served, f"delta://{tmp_path}/lake")


def append_rows(folder: Path) -> None:
    table = DeltaTable(folder / "calls")
    write_deltalake(table, table.to_pyarrow_table().slice(0, 1), mode="append")


def restore_first(folder: Path) -> None:
    DeltaTable(folder / "calls").restore(0)


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize(("change", "operation"), [(append_rows, "WRITE"), (restore_first, "RESTORE")])
async def test_delta_tables_that_something_else_wrote(
    served: StandInServer, tmp_path: Path, change: Callable[[Path], None], operation: str
) -> None:
    """The error names table, version and operation, and what to do; nothing is written."""
    database = database_in(tmp_path, "delta")
    await sync_once(served, database)
    change(tmp_path / "lake")
    version = DeltaTable(tmp_path / "lake" / "calls").version()
    told = await refusal(served, database)
    assert (
        f"calls was changed by another program since the last sync: version {version} ({operation})" in told
    )
    assert "Choose another directory" in told
    assert DeltaTable(tmp_path / "lake" / "calls").version() == version


@pytest.mark.slow
@pytest.mark.anyio
async def test_delta_tables_may_be_compacted(served: StandInServer, tmp_path: Path) -> None:
    """OPTIMIZE and VACUUM between syncs are welcome."""
    database = database_in(tmp_path, "delta")
    await sync_once(served, database)
    await sync_once(served, database)
    before = rows_of(database, "calls")
    for name in ("calls", "evaluations"):
        table = DeltaTable(tmp_path / "lake" / name)
        table.optimize.z_order(["source_id"])
        table.vacuum(dry_run=False, retention_hours=0, enforce_retention_duration=False)
    await sync_once(served, database)
    assert len(rows_of(database, "calls")) == len(before)


@pytest.mark.anyio
async def test_every_commit_carries_the_digest_of_what_was_read(
    served: StandInServer, tmp_path: Path
) -> None:
    """All four tables say in their history which sync wrote a version, as its row in syncs does."""
    database = database_in(tmp_path, "delta")
    await sync_once(served, database)
    (sync,) = rows_of(database, "syncs")
    for name in TABLES:
        table = DeltaTable(tmp_path / "lake" / name)
        (last,) = table.history(1)
        assert last["futureagi_async.sync"] == sync["digest"]
        assert table.transaction_version("futureagi_async.sync") == sync["number"] == 1


OURS, FOREIGN = ("MERGE", True), ("WRITE", False)
COMPACTED, CLEANED = ("OPTIMIZE", False), ("VACUUM END", False)


@pytest.mark.parametrize(
    ("commits", "expected"),
    [
        ([], None),
        ([COMPACTED, CLEANED], None),
        ([OURS], 5),
        ([COMPACTED, OURS, OURS], 6),
        ([OURS, COMPACTED, OURS], 5),
        ([("RESTORE", True)], 5),
    ],
)
def test_what_an_unfinished_sync_wrote_is_undone(
    commits: list[tuple[str, bool]], expected: int | None
) -> None:
    """A table goes back to the last version in front of the first commit of a sync that never ended."""
    assert version_to_restore(numbered(commits), 5) == expected


@pytest.mark.parametrize("commits", [[FOREIGN], [COMPACTED, FOREIGN], [OURS, FOREIGN], [("RESTORE", False)]])
def test_what_something_else_wrote_is_not(commits: list[tuple[str, bool]]) -> None:
    """Whatever else may have written, nobody's rows are undone."""
    with pytest.raises(ForeignCommitError):
        version_to_restore(numbered(commits), 5)


def numbered(commits: list[tuple[str, bool]]) -> list[Commit]:
    return [Commit(version, *each) for version, each in enumerate(commits, start=6)]


SOURCE = RunTestCalls("00000000-0000-4000-8000-000000000001")
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"database": ""}, ValueError, "database must not be empty: pass for example calls.duckdb"),
    ({"database": 5}, TypeError, "database must be a path or a URL, not 5"),
    ({"database": b"calls.duckdb"}, TypeError, "database must be a path or a URL"),
    ({"database": "calls.parquet"}, ValueError, r"database must end in .duckdb, .ddb or .db"),
    ({"database": "calls"}, ValueError, r"database must end in .duckdb, .* or begin with delta://"),
    ({"database": "calls\0.duckdb"}, ValueError, "NUL"),
    ({"database": "s3://bucket/calls"}, ValueError, r"database must begin with delta\+s3://"),
    ({"database": "https://host/calls.duckdb"}, ValueError, "database must be a path on this machine"),
    ({"database": "delta://"}, ValueError, "database needs a directory after delta://"),
    ({"database": "delta+s3://"}, ValueError, "database needs a directory"),
    (
        {"database": "delta+ftp://host/calls"},
        ValueError,
        r"database begins with delta\+ftp://, but must begin with one of",
    ),
    ({"database": "delta+s3://key:secret@bucket/x"}, ValueError, "database must not contain keys"),
    ({"sources": []}, ValueError, "sources is empty: pass at least one list"),
    ({"sources": ["x"]}, TypeError, "A source is RunTestCalls"),
    ({"sources": None}, TypeError, "sources must be a list"),
    ({"full_every": 30}, TypeError, "full_every must be a timedelta or None, not int"),
    ({"full_every": timedelta(days=-1)}, ValueError, "full_every must not be negative"),
    ({"page_size": 0}, ValueError, "page_size must be from 1"),
    ({"page_size": "100"}, TypeError, "page_size must be an int"),
    ({"max_outage": -1}, ValueError, "max_outage must be 0 seconds or more"),
    ({"max_outage": None}, TypeError, "max_outage must be a number"),
    ({"transcripts": "yes"}, TypeError, "transcripts must be a bool"),
    ({"include_provider_data": 1}, TypeError, "include_provider_data must be a bool"),
    ({"on_progress": 5}, TypeError, "on_progress must be callable"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("wrong", "error", "message"), WRONG, ids=lambda value: str(value)[:50])
async def test_wrong_arguments(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    """Each is refused before anything is opened or written, and no key is repeated."""
    monkeypatch.chdir(tmp_path)
    arguments: dict[str, Any] = {"sources": [SOURCE], "database": "calls.duckdb", **wrong}
    async with Session("key", "secret") as session:
        with pytest.raises(error, match=message) as caught:
            await sync_calls(session, **arguments)
    assert "secret@" not in str(caught.value)
    assert not names_in(tmp_path)
