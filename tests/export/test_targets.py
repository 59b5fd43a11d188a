"""Directories of parts with a manifest: what they hold, when they are finished, and what is not touched."""

import errno
import hashlib
import json
import os
import resource
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from futureagi_async import ExportError, RunTestCalls, TestExecutionCalls
from futureagi_async.export import ExportReport, export_calls, verify_export
from futureagi_async.export.files import create_file, replace_file, write_all
from futureagi_async.export.store import Page, Store
from futureagi_async.export.targets import read_target
from futureagi_async.testing import StandInServer
from tests.export.test_store import NOW, make_parameters
from tests.support.exports import all_lists, export, interrupt, names_in, read_manifest, redo_digest
from tests.support.sessions import open_session, read_body, respond


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
async def test_a_directory_holds_parts_and_a_manifest(
    server: StandInServer, tmp_path: Path, format_: str
) -> None:
    """Every record is in a part, no part has more than asked for, and the manifest tells what is where."""
    report = await export(server, tmp_path / "out", format=format_)
    manifest = read_manifest(tmp_path / "out")
    calls = [part for part in manifest["parts"] if part["name"].startswith("calls-")]
    assert [part["records"] for part in calls[:-1]] == [50] * (len(calls) - 1)
    assert sum(part["records"] for part in calls) == manifest["records"] == report.records
    assert names_in(tmp_path / "out") == {
        "_manifest.json",
        *(path.relative_to(tmp_path / "out").parts[0] for path in report.files),
    }
    assert [source["verdict"] for source in manifest["sources"]] == ["complete"] * 3
    assert [source["records"] for source in manifest["sources"]] == [each.received for each in report.fetch]
    assert manifest["complete"] is report.complete is True
    checked = verify_export(tmp_path / "out")
    assert (checked.problems, checked.complete, checked.records) == ((), True, report.records)


@pytest.mark.anyio
async def test_the_digest_is_what_the_documents_say(served: StandInServer, tmp_path: Path) -> None:
    """Anybody can compute the manifest's own digest, with the tools of any language."""
    await export(served, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert redo_digest(manifest) == manifest


@pytest.mark.anyio
async def test_the_sums_of_ids_are_what_the_documents_say(served: StandInServer, tmp_path: Path) -> None:
    """The sum of the ids is that of their sorted lines, the one of pairs names the sources' places."""
    report = await export(served, tmp_path / "out", normalised=True)
    rows = [json.loads(line) for path in report.files for line in path.read_bytes().splitlines()]
    pairs = sorted((row["source"]["index"], row["id"]) for row in rows)
    manifest = read_manifest(tmp_path / "out")
    ids = "".join(f"{id_}\n" for id_ in sorted(row["id"] for row in rows))
    assert manifest["ids_sha256"] == hashlib.sha256(ids.encode()).hexdigest()
    lines = "".join(f"{source} {id_}\n" for source, id_ in pairs)
    assert manifest["pairs_sha256"] == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.anyio
async def test_an_empty_list_is_an_empty_part(served: StandInServer, tmp_path: Path) -> None:
    """No calls at all are an export too, which can be verified, and that no source at all is given."""
    async with open_session(served) as session:
        source = RunTestCalls(served.run_test_ids[0], search="no such scenario")
        for name, sources in (("out", [source]), ("none", [])):
            report = await export_calls(session, sources, tmp_path / name)
            assert (report.records, report.complete, len(report.files)) == (0, True, 1)
            assert verify_export(tmp_path / name).ok


@pytest.mark.anyio
@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
async def test_one_list_given_twice_is_read_twice(
    served: StandInServer, tmp_path: Path, format_: str
) -> None:
    """Equal sources are written once each, and the manifest's sums still fit the files."""
    source = RunTestCalls(served.run_test_ids[2])
    async with open_session(served) as session:
        report = await export_calls(session, [source, source], tmp_path / "out", format=format_)
    assert report.records == 2 * len(served.run_test_rows(source.run_test_id))
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
async def test_a_finished_export_is_left_as_it_is(served: StandInServer, tmp_path: Path) -> None:
    """The same export again reads nothing, says so, and gives the same report."""
    first = await export(served, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    served.clear_requests()
    again = await export(served, tmp_path / "out")
    assert not served.requests
    assert again.already_finished
    assert (again.fetch, again.records, again.files) == (first.fetch, first.records, first.files)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.anyio
async def test_a_finished_export_of_something_else_is_not_touched(
    served: StandInServer, tmp_path: Path
) -> None:
    """Other parameters are refused with what differs; with ``resume=False`` it is replaced, all of it."""
    await export(served, tmp_path / "out", part_rows=20)
    with pytest.raises(ExportError, match=r"finished export with other parameters: part_rows was 20"):
        await export(served, tmp_path / "out", part_rows=40)
    report = await export(served, tmp_path / "out", part_rows=1_000, resume=False)
    assert names_in(tmp_path / "out") == {"calls-00000.jsonl", "_manifest.json"}
    assert not report.already_finished
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
async def test_a_replacement_that_is_interrupted_leaves_the_old_export(
    served: StandInServer, tmp_path: Path
) -> None:
    """Until everything was read anew, the old export stands whole; afterwards nothing of it is left."""
    old = await export(served, tmp_path / "out", part_rows=20)
    async with open_session(served) as session:
        sources = all_lists(served)
        await interrupt(session, sources, tmp_path / "out", resume=False, format="csv")
        assert verify_export(tmp_path / "out").ok
        assert verify_export(tmp_path / "out").records == old.records
        await export_calls(session, sources, tmp_path / "out", format="csv")
    assert names_in(tmp_path / "out") == {"calls-00000.csv", "_manifest.json"}


@pytest.mark.anyio
@pytest.mark.parametrize("resume", [True, False])
async def test_files_of_others_are_not_written_over(
    served: StandInServer, tmp_path: Path, resume: bool
) -> None:
    """Parts without a manifest, or a manifest that is none of ours, are refused before any request."""
    (tmp_path / "calls-00003.jsonl").touch()
    with pytest.raises(ExportError, match=r"calls-00003\.jsonl already exists"):
        await export(served, tmp_path, resume=resume)
    (tmp_path / "_manifest.json").write_text('{"name": "an app"}')
    with pytest.raises(ExportError, match="not the manifest of an export"):
        await export(served, tmp_path, resume=resume)
    assert not served.requests
    assert names_in(tmp_path) == {"calls-00003.jsonl", "_manifest.json"}


@pytest.mark.anyio
async def test_a_finished_export_that_lost_a_part_says_so(served: StandInServer, tmp_path: Path) -> None:
    """It is not called finished, and not silently mended: somebody removed something."""
    report = await export(served, tmp_path / "out")
    report.files[1].unlink()
    with pytest.raises(ExportError, match=r"calls-00001\.jsonl was changed or removed after the export"):
        await export(served, tmp_path / "out")
    assert (await export(served, tmp_path / "out", resume=False)).complete


@pytest.mark.anyio
async def test_keys_are_nowhere(served: StandInServer, tmp_path: Path) -> None:
    """No file of an export, finished or not, holds the session's keys."""
    sources = all_lists(served)
    async with open_session(served) as session:
        await interrupt(session, sources, tmp_path / "unfinished", transcripts=True)
        await export_calls(session, sources, tmp_path / "finished", transcripts=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]  # noqa: ASYNC240
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        assert served.api_key.encode() not in content
        assert served.secret_key.encode() not in content


@pytest.mark.anyio
async def test_the_manifest_counts_values_that_no_column_holds(served: StandInServer, tmp_path: Path) -> None:
    """Nothing is changed silently: such a value is in the column misfits, and its call is counted."""
    run_test = served.run_test_ids[2]
    path = f"/simulate/run-tests/{run_test}/call-executions/"
    page = read_body(served, f"{path}?page=1&limit=100")
    page["results"][0]["total_tokens"] = 2**60 + 1
    respond(served, path, page, times=100)
    async with open_session(served) as session:
        report = await export_calls(session, RunTestCalls(run_test), tmp_path / "out", format="parquet")
    assert report.complete
    parts = {part["name"]: part["misfits"] for part in read_manifest(tmp_path / "out")["parts"]}
    assert parts == {"calls-00000.parquet": 1, "_evaluations/evaluations-00000.parquet": 0}
    assert verify_export(tmp_path / "out").ok


async def export_one_run(served: StandInServer, target: Path) -> ExportReport:
    async with open_session(served) as session:
        return await export_calls(session, RunTestCalls(served.run_test_ids[1]), target)


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("name", ["calls.jsonl", "calls.csv.gz", "out", "deep/er/out"])
async def test_only_the_owner_may_read(served: StandInServer, tmp_path: Path, name: str) -> None:
    """Files and new directories are private, whatever the file that is replaced allowed."""
    target = tmp_path / name
    if target.suffix:
        target.touch(0o666)
    report = await export_one_run(served, target)
    made = [*report.files, *([report.manifest] if report.manifest else [])]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    if target.is_dir():
        assert stat.S_IMODE(target.stat().st_mode) == 0o700


@pytest.mark.anyio
async def test_the_working_directory_is_private(served: StandInServer, tmp_path: Path) -> None:
    """What is kept for the next run is readable by its owner alone."""

    def refuse(_: object) -> None:
        raise LookupError

    async with open_session(served) as session:
        with pytest.raises(LookupError):
            await export_calls(
                session, RunTestCalls(served.run_test_ids[1]), tmp_path / "c.csv", on_progress=refuse
            )
    work = tmp_path / ".c.csv.export"
    assert stat.S_IMODE(work.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in work.iterdir()} == {0o600}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["directory", "pipe"])
async def test_what_is_no_file_is_not_replaced(served: StandInServer, tmp_path: Path, kind: str) -> None:
    """A directory or a device under the target's name is refused before any request."""
    target = tmp_path / "calls.jsonl"
    target.mkdir() if kind == "directory" else os.mkfifo(target)
    with pytest.raises(ExportError, match="is not a regular file"):
        await export_one_run(served, target)
    assert names_in(tmp_path) == {target.name}
    assert not served.requests


@pytest.mark.anyio
@pytest.mark.parametrize(("target", "link"), [("calls.jsonl", ".calls.jsonl.export"), ("out", "out/.export")])
async def test_a_link_in_the_working_directory_s_place_is_not_followed(
    served: StandInServer, tmp_path: Path, target: str, link: str
) -> None:
    """Nobody can have an export write elsewhere by putting a link where it works."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(elsewhere)
    with pytest.raises(ExportError, match="is not a directory"):
        await export_one_run(served, tmp_path / target)
    assert not names_in(elsewhere)


@pytest.mark.anyio
async def test_a_link_to_a_directory_is_a_directory(served: StandInServer, tmp_path: Path) -> None:
    """The directory that the caller names may lie elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    await export_one_run(served, tmp_path / "out")
    assert names_in(tmp_path / "elsewhere") == {"calls-00000.jsonl", "_manifest.json"}


@pytest.mark.anyio
async def test_a_file_is_no_directory(served: StandInServer, tmp_path: Path) -> None:
    """A target without a known ending is a directory; a file in its place stays."""
    (tmp_path / "out").write_text("before")
    with pytest.raises(ExportError, match="is not a directory"):
        await export_one_run(served, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "before"


@pytest.mark.anyio
async def test_a_missing_directory_is_named(served: StandInServer, tmp_path: Path) -> None:
    """The error says what can't be written, and why."""
    with pytest.raises(ExportError, match=r"Can't write .*nowhere/calls.jsonl: there is no directory"):
        await export_one_run(served, tmp_path / "nowhere" / "calls.jsonl")


@pytest.mark.anyio
@pytest.mark.parametrize("below", ["calls.jsonl", "out/", "deeper/calls.csv"])
async def test_a_file_in_place_of_a_directory_is_named(
    served: StandInServer, tmp_path: Path, below: str
) -> None:
    """Nothing can be created below it, and it stays as it is."""
    file = tmp_path / "notes"
    file.write_text("before")
    with pytest.raises(ExportError, match=r"Can't write .*/notes/.*/notes is a file, not a directory\."):
        await export_one_run(served, f"{file}/{below}")
    assert file.read_text() == "before"


@pytest.mark.anyio
@pytest.mark.skipif(os.geteuid() == 0, reason="the super-user may write anywhere")
@pytest.mark.parametrize("name", ["calls.jsonl", "out"])
async def test_a_read_only_directory_is_an_export_error(
    served: StandInServer, tmp_path: Path, name: str
) -> None:
    """Where nothing may be written, the error says so, before any request."""
    tmp_path.chmod(0o500)  # noqa: ASYNC240
    try:
        with pytest.raises(ExportError, match="Permission denied"):
            await export_one_run(served, tmp_path / name)
    finally:
        tmp_path.chmod(0o700)  # noqa: ASYNC240
    assert not served.requests


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to make any file larger, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.quick(2)
@pytest.mark.anyio
@pytest.mark.parametrize("size", [500, 20_000, 50_000, 100_000, 200_000, 350_000])
async def test_a_full_disk_leaves_the_target_and_what_was_read(
    served: StandInServer, tmp_path: Path, size: int
) -> None:
    """Whichever file the disk has no room for, the target stays; with room again, the export goes on."""
    target = tmp_path / "calls.jsonl"
    target.write_text("before")
    sources = [RunTestCalls(served.run_test_ids[0]), TestExecutionCalls(served.test_execution_ids[0])]
    async with open_session(served, max_in_flight=1) as session:
        with (
            largest_file(size),
            pytest.raises(ExportError, match=r"Can't write .*: (File too large|disk I/O error)") as caught,
        ):
            await export_calls(session, sources, target, ordered=True, overwrite=True)
        told = "same export again to continue" in str(caught.value)
        assert told == (tmp_path / ".calls.jsonl.export").exists()
        assert target.read_text() == "before"
        report = await export_calls(session, sources, target, ordered=True, overwrite=True)
        expected = await export_calls(session, sources, tmp_path / "expected.jsonl", ordered=True)
    assert report.complete
    assert target.read_bytes() == expected.path.read_bytes()


@pytest.mark.quick(2)
@pytest.mark.anyio
@pytest.mark.parametrize("which", range(1, 6))
async def test_a_disk_that_fails_at_any_sync_is_an_export_error(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """What did not reach the disk does not count: the target stays, and the next run makes it."""
    target, calls = tmp_path / "calls.jsonl", 0
    real_fsync: Callable[[int], None] = os.fsync

    def fail(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == which and not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    try:
        await export_one_run(served, target)
    except ExportError as error:
        assert "Input/output error" in str(error)  # noqa: PT017 - some syncs are of directories
        assert not target.exists()
    assert calls >= which
    monkeypatch.undo()
    report = await export_one_run(served, target)
    assert report.complete
    assert names_in(tmp_path) == {target.name}


class FailingConnection(sqlite3.Connection):
    """An index that the disk has no room for from some statement on."""

    statements = 0
    allowed = 0

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if statement.startswith(("INSERT", "PRAGMA main.wal_checkpoint", "COMMIT", "DELETE")):
            FailingConnection.statements += 1
            if FailingConnection.statements > FailingConnection.allowed:
                raise sqlite3.OperationalError("database or disk is full")
        return super().execute(statement, values)


@pytest.mark.quick(2)
@pytest.mark.anyio
@pytest.mark.parametrize("allowed", range(6))
async def test_a_disk_that_is_full_for_the_index_is_an_export_error(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    """Whichever row or commit there is no room for: the error says so, and the next run goes on."""
    target = tmp_path / "calls.jsonl"
    real_connect = sqlite3.connect
    monkeypatch.setattr(FailingConnection, "statements", 0)
    monkeypatch.setattr(FailingConnection, "allowed", allowed)
    monkeypatch.setattr(sqlite3, "connect", partial(real_connect, factory=FailingConnection))
    with pytest.raises(ExportError, match=r"Can't write .*index\.db.*: database or disk is full") as caught:
        await export_one_run(served, target)
    told = "same export again to continue" in str(caught.value)
    kept = (tmp_path / ".calls.jsonl.export").exists()
    assert told == kept
    monkeypatch.undo()
    served.clear_requests()
    report = await export_one_run(served, target)
    assert report.complete
    assert report.resumed == kept
    assert names_in(tmp_path) == {target.name}


def test_no_room_to_sort_is_an_export_error(tmp_path: Path) -> None:
    """The error says that SQLite sorts in temporary files, and what names their directory."""
    target = read_target(tmp_path / "out", None)
    target.work.mkdir(parents=True)
    store = Store(target, make_parameters(ordered=True, part_rows=None))
    store.open(NOW, resume=True)
    ids = [f"{number:036}" for number in range(40_000)]
    page = Page(source=0, checkpoint=b"", newer=0, ids=ids, changed=[1.0] * len(ids), details=())
    store.add_page(page, [b"{}"] * len(ids))
    with largest_file(100_000), pytest.raises(ExportError, match=r"Can't sort .*SQLITE_TMPDIR or TMPDIR"):
        list(store.records())
    store.close()


@pytest.mark.quick(3)
@pytest.mark.anyio
@pytest.mark.skipif(sys.platform == "win32", reason="locks by another call there")
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOLCK, r"its file system has no locks .*Export to a local disk"),
        (errno.ENOTSUP, r"its file system has no locks .*Export to a local disk"),
        (errno.ENOSYS, r"its file system has no locks .*Export to a local disk"),
        (errno.EIO, r"Can't lock .*lock: Input/output error"),
        (errno.EWOULDBLOCK, r"Another export to .* is running"),
    ],
)
@pytest.mark.parametrize("name", ["calls.jsonl", "out"])
async def test_a_lock_that_can_not_be_had_is_told_as_what_it_is(
    served: StandInServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    number: int,
    said: str,
) -> None:
    """A file system without locks is not taken for another export; either is refused before any request."""
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ExportError, match=said):
        await export_one_run(served, tmp_path / name)
    assert not served.requests
    left = names_in(tmp_path)
    assert not left or number == errno.EWOULDBLOCK  # what another export works in is its own


@pytest.mark.anyio
async def test_long_names_are_no_hindrance(served: StandInServer, tmp_path: Path) -> None:
    """The working directory's name fits wherever the target's does, and is each target's own."""
    for last in "ab":
        await export_one_run(served, tmp_path / ("ü" * 123 + last + ".jsonl"))
    assert len(names_in(tmp_path)) == 2


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write less than it was given; the rest follows."""
    real_writev, real_write = os.writev, os.write
    monkeypatch.setattr(os, "writev", lambda fd, pieces: real_writev(fd, [b"".join(pieces)[:3]]))
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:2]))
    descriptor = create_file(tmp_path / "file")
    write_all(descriptor, [b"ab", b"cdefg"] * 1_500)
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"abcdefg" * 1_500


def test_a_file_that_exists_is_not_written_over(tmp_path: Path) -> None:
    """A new file is new: one that somebody put there is an error."""
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="File exists"):
        create_file(tmp_path / "file")


def test_a_directory_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """The check is made again when a file gets its name."""
    (tmp_path / "part").touch()
    (tmp_path / "calls.jsonl").mkdir()
    with pytest.raises(ExportError, match="is not a regular file"):
        replace_file(tmp_path / "part", tmp_path / "calls.jsonl")
