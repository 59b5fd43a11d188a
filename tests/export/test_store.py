"""What an unfinished export keeps on the disk: damage is noticed, and what is whole is resumed."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from futureagi_async import ExportError, RunTestCalls
from futureagi_async.export import store as store_module
from futureagi_async.export.manifest import Failure, Parameters, RecordingFile
from futureagi_async.export.part_files import PartFiles, split_rows
from futureagi_async.export.store import Page, Record, Store
from futureagi_async.export.targets import read_target
from futureagi_async.export.verify import IdDigests
from tests.support.slow import examples, slow

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SOURCE = RunTestCalls("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")


def make_parameters(**changed: Any) -> Parameters:
    """Return the parameters of an export into parts of two records."""
    usual: dict[str, Any] = {
        "layout": "directory",
        "format": "jsonl",
        "compression": None,
        "normalised": False,
        "ordered": False,
        "page_size": 100,
        "part_rows": 2,
        "include_provider_data": False,
        "transcripts": True,
        "recordings": False,
        "since": None,
        "sources": [SOURCE.to_dict()],
    }
    return Parameters(**{**usual, **changed})


def open_store(folder: Path, *, resume: bool = True, **changed: Any) -> Store:
    """Open the store of an export."""
    target = read_target(folder / "out", None)
    target.work.mkdir(parents=True, exist_ok=True)
    made = Store(target, make_parameters(**changed))
    made.open(NOW, resume=resume)
    return made


def add(
    store: Store,
    ids: str,
    *,
    newer: int = 0,
    source: int = 0,
    changed: list[float | None] | None = None,
    details: list[str | None] | None = None,
) -> None:
    """Add a page of records that are called by letters, each ten bytes long with its newline."""
    page = Page(
        source=source,
        checkpoint=ids.encode(),
        newer=newer,
        ids=list(ids),
        changed=changed if changed is not None else [None] * len(ids),
        details=details or (),
    )
    store.add_page(page, [name.encode() * 9 for name in ids])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Begin an export and add five pages of one record."""
    made = open_store(tmp_path)
    for name in "abcde":
        add(made, name)
    yield made
    made.close()


def checkpoints_after(folder: Path, **options: Any) -> bytes:
    """Open the store once more, and return the checkpoints that it kept."""
    again = open_store(folder, **options)
    try:
        return b"".join(again.checkpoints())
    finally:
        again.close()


def names_of(store: Store, *, in_order: bool = True) -> list[str]:
    """Return the letters of the records, read from where the store says they are."""
    found = []
    for record in store.records(in_order=in_order):
        content = store.part_path(record.part).read_bytes()
        lines = content[record.offset : record.offset + record.size]
        assert lines == lines[:1] * 9 + b"\n"
        found.append(lines[:1].decode())
    return found


def test_what_is_whole_is_gone_on_from(store: Store, tmp_path: Path) -> None:
    """All pages are kept; appending goes on behind them, in a new file where the last one is full."""
    store.close()
    again = open_store(tmp_path)
    assert b"".join(again.checkpoints()) == b"abcde"
    add(again, "fg")
    assert [path.read_bytes() for path in sorted(again.target.work.glob("part-*"))] == [
        b"aaaaaaaaa\nbbbbbbbbb\n",
        b"ccccccccc\nddddddddd\n",
        b"eeeeeeeee\nfffffffff\n",
        b"ggggggggg\n",
    ]
    assert names_of(again) == list("abcdefg")
    assert (again.counts.resumed, again.counts.pages, again.counts.records, again.counts.bytes) == (
        1,
        6,
        7,
        70,
    )
    again.close()
    assert checkpoints_after(tmp_path) == b"abcdefg"


@pytest.mark.quick(8)
@pytest.mark.parametrize("with_sha256", [True, False])
@pytest.mark.parametrize(
    ("number", "place", "kept"), [(0, 0, b""), (0, 15, b"a"), (1, 3, b"ab"), (2, 9, b"abcd")]
)
@pytest.mark.parametrize("how", ["changed", "cut", "missing"])
def test_a_damaged_part_file_is_noticed(
    tmp_path: Path, number: int, place: int, kept: bytes, how: str, with_sha256: bool
) -> None:
    """A page of which a byte changed, or was lost, and all after it, are read again."""
    changed = {"format": "jsonl" if with_sha256 else "csv"}
    store = open_store(tmp_path, **changed)
    for name in "abcde":
        add(store, name)
    store.close()
    path = store.part_path(number)
    content = bytearray(path.read_bytes())
    if how == "changed":
        content[place] ^= 1
        path.write_bytes(content)
    elif how == "cut":
        path.write_bytes(content[:place])
    else:
        path.unlink()
        kept = b"abcdef"[: number * 2]
    assert checkpoints_after(tmp_path, **changed) == kept
    assert checkpoints_after(tmp_path, **changed) == kept


def test_part_files_behind_one_that_is_missing_are_in_nobody_s_way(store: Store, tmp_path: Path) -> None:
    """What was read again takes their places."""
    store.close()
    store.part_path(1).unlink()
    again = open_store(tmp_path)
    add(again, "xyz")
    assert names_of(again) == list("abxyz")
    again.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells files by /proc")
@pytest.mark.parametrize(
    ("limits", "synced_after"), [((25, 1e9), "cf"), ((1e9, -1.0), "abcdefg"), ((1e9, 1e9), "")]
)
def test_files_are_brought_onto_the_disk_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[float, float], synced_after: str
) -> None:
    """After so many bytes, after so many seconds, and at the end: the records, and then the index."""
    monkeypatch.setattr(store_module, "_SYNC_BYTES", limits[0])
    monkeypatch.setattr(store_module, "_SYNC_SECONDS", limits[1])
    made = open_store(tmp_path, part_rows=None)
    synced: list[str] = []
    real_fsync, real_checkpoint = os.fsync, store_module._checkpoint

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real_fsync(descriptor)

    def note_checkpoint(database: sqlite3.Connection) -> None:
        synced.append("index")
        real_checkpoint(database)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(store_module, "_checkpoint", note_checkpoint)
    found = ""
    for name in "abcdefg":
        add(made, name)
        if synced:
            assert synced == ["part-00000.jsonl", "details-00000.jsonl", "index"]
            assert index_without_log(made) >= len(found) + 1
            found, synced[:] = found + name, []
    assert found == synced_after
    made.leave()
    assert synced == ["part-00000.jsonl", "details-00000.jsonl", "index"]


def index_without_log(store: Store) -> int:
    """Count the pages in a copy of the database alone: what the log holds may be lost in a power cut."""
    copy = store.target.work / "copy.db"
    copy.write_bytes((store.target.work / "index.db").read_bytes())
    with closing(sqlite3.connect(copy)) as database:
        ((pages,),) = database.execute("SELECT count(*) FROM pages").fetchall()
    copy.unlink()
    return int(pages)


def test_what_stands_behind_the_last_page_is_cut_off(store: Store, tmp_path: Path) -> None:
    """Records of a page that the index does not know, whole files of them too, do not count."""
    store._parts.append([b"x" * 10, b"y" * 10, b"z" * 10])
    store.close()
    again = open_store(tmp_path)
    again.close()
    assert again.part_path(2).read_bytes() == b"eeeeeeeee\n"
    assert not again.part_path(3).exists()
    assert checkpoints_after(tmp_path) == b"abcde"


def snapshot(store: Store) -> dict[str, bytes]:
    """Return the files of an unfinished export as they are at this moment."""
    return {path.name: path.read_bytes() for path in store.target.work.iterdir()}


def restore(folder: Path, files: dict[str, bytes]) -> None:
    """Lay files in place of an unfinished export's."""
    work = folder / "out" / ".export"
    for path in work.iterdir():
        path.unlink()
    for name, content in files.items():
        (work / name).write_bytes(content)


@pytest.mark.quick(1)
@pytest.mark.parametrize("how", ["garbage", "cut", *slow("zeros", "another block")])
@pytest.mark.parametrize("name", ["index.db", "index.db-wal"])
def test_a_damaged_index_gives_what_can_still_be_read(tmp_path: Path, name: str, how: str) -> None:
    """Wherever it was overwritten or cut, some first pages are kept and gone on from, never others."""
    store = open_store(tmp_path)
    ids = [chr(number) for number in range(ord("a"), ord("a") + 12)]
    for number, letter in enumerate(ids):
        add(store, letter, changed=[float(number)])
        if name == "index.db" or number < 5:
            store.sync()
    files = snapshot(store)
    store.close()
    kept: set[int] = set()
    block = 2_048
    for begin in range(0, len(files[name]), block):
        damaged = bytearray(files[name])
        if how == "cut":
            del damaged[begin:]
        else:
            other = files[name][(begin + 3 * block) % len(files[name]) :][:block]
            damaged[begin : begin + block] = {"zeros": bytes(block), "garbage": b"\xa5" * block}.get(
                how, other
            )
        restore(tmp_path, {**files, name: bytes(damaged)})
        again = open_store(tmp_path)
        there = list(again.checkpoints())
        assert there == [letter.encode() for letter in ids[: len(there)]]
        add(again, "z")
        again.sync()
        again.close()
        assert checkpoints_after(tmp_path) == b"".join(there) + b"z"
        kept.add(len(there))
    assert len(kept) > 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pages SET checkpoint = x'41' WHERE page = 3",
        "UPDATE pages SET records = replace(records, '\"c\"', '\"x\"') WHERE page = 3",
        "UPDATE pages SET newer = 1 WHERE page = 3",
        "UPDATE pages SET records = CAST(x'ff' AS TEXT) WHERE page = 3",
        "DELETE FROM pages WHERE page = 3",
        "UPDATE pages SET page = 9 WHERE page = 3",
    ],
)
def test_a_page_whose_row_was_changed_is_read_again(store: Store, tmp_path: Path, statement: str) -> None:
    """SQLite itself has no checksums: each row has its own."""
    store.close()
    change(tmp_path, statement)
    assert checkpoints_after(tmp_path) == b"ab"


def change(folder: Path, *statements: str) -> None:
    """Change an index by hand."""
    with closing(sqlite3.connect(folder / "out" / ".export" / "index.db")) as database, database:
        for statement in statements:
            database.execute(statement)


def test_an_index_that_begins_with_nothing_is_begun_anew(store: Store, tmp_path: Path) -> None:
    """Where the row that says what the export is of was changed, nothing can be gone on from."""
    store.close()
    change(tmp_path, "UPDATE export SET began_at = '2020-01-01T00:00:00+00:00'")
    assert checkpoints_after(tmp_path) == b""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": "csv"}, "format was 'jsonl' and is now 'csv'"),
        ({"page_size": 50}, "page_size was 100 and is now 50"),
        ({"transcripts": False}, "transcripts was True and is now False"),
        ({"sources": []}, "1 of its sources are missing and 0 are new"),
        ({"since": "abc"}, "since was None and is now 'abc'"),
    ],
)
def test_other_parameters_are_refused(
    store: Store, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    """The error names what differs and what to do; nothing is lost, and a new beginning can be asked for."""
    store.close()
    with pytest.raises(ExportError, match=said) as caught:
        open_store(tmp_path, **changed)
    assert "resume=False (--restart)" in str(caught.value)
    assert checkpoints_after(tmp_path) == b"abcde"
    assert checkpoints_after(tmp_path, resume=False, **changed) == b""


def test_sources_in_another_order_are_other_sources() -> None:
    """Checkpoints count sources, so their order matters; the words say that it is nothing else."""
    two = [SOURCE.to_dict(), RunTestCalls(SOURCE.run_test_id, status="failed").to_dict()]
    now, before = make_parameters(sources=two), make_parameters(sources=two[::-1])
    assert now.differences(before) == ["the sources are the same in another order"]


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["UPDATE export SET package = '0.0.1'"], r"of version 0\.0\.1 of this package"),
        (["UPDATE export SET format = 3, package = '9.9'"], r"of version 9\.9 of this package"),
        (["DROP TABLE export"], "of another version of this package"),
    ],
)
def test_another_version_s_index_is_refused(
    store: Store, tmp_path: Path, statements: list[str], said: str
) -> None:
    """Checkpoints are a version's own: the error says which one is needed, and the index stays as it is."""
    store.close()
    change(tmp_path, *statements, "UPDATE pages SET row_crc32 = 0")
    before = snapshot(store)
    with pytest.raises(ExportError, match=said) as caught:
        open_store(tmp_path)
    assert "start again with resume=False (--restart)" in str(caught.value)
    assert snapshot(store) == before
    assert checkpoints_after(tmp_path, resume=False) == b""


def test_an_unfinished_export_of_before_there_was_an_index_is_refused(tmp_path: Path) -> None:
    """Earlier versions kept a journal: it is not understood, not removed, and named for what it is."""
    work = tmp_path / "out" / ".export"
    work.mkdir(parents=True)
    (work / "journal").write_bytes(b'00000000 {"entry":"begun","format":1,"package":"0.1.0"}\n')
    (work / "stage-00000.jsonl").write_bytes(b"{}\n")
    with pytest.raises(ExportError, match=r"of an earlier version of this package.*start again with"):
        open_store(tmp_path)
    assert {path.name for path in work.iterdir()} == {"journal", "stage-00000.jsonl"}
    assert checkpoints_after(tmp_path, resume=False) == b""
    assert not (work / "journal").exists()


@pytest.mark.slow
def test_an_index_that_is_looked_at_is_not_written_to(store: Store, tmp_path: Path) -> None:
    """Where a shell has it open, the error says so."""
    store.close()
    with closing(sqlite3.connect(tmp_path / "out" / ".export" / "index.db")) as shell:
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            ExportError, match=r"database is locked\. Close the other programs that have it open"
        ):
            open_store(tmp_path)
    assert checkpoints_after(tmp_path) == b"abcde"


@pytest.mark.parametrize("name", ["index.db", "index.db-wal"])
def test_a_link_in_the_index_s_place_is_not_followed(store: Store, tmp_path: Path, name: str) -> None:
    """Nobody can have an export write into a file elsewhere."""
    store.close()
    path = tmp_path / "out" / ".export" / name
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(b"")
    with pytest.raises(ExportError, match="it exists and is not a regular file"):
        open_store(tmp_path)
    assert (tmp_path / "elsewhere").read_bytes() == b""


@given(st.lists(st.lists(st.integers(1, 50), max_size=7), max_size=8), st.integers(1, 5) | st.none())
def test_rows_fill_one_file_after_the_other(pages: list[list[int]], rows_a_file: int | None) -> None:
    """No file holds more than it may, all but the last are full, and each row is in one."""
    counts = {0: 0}
    for sizes in pages:
        number = max(counts)
        found = list(split_rows(len(sizes), number, counts[number], rows_a_file))
        assert [size for _, some in found for size in sizes[some]] == sizes
        for file, some in found:
            counts[file] = counts.get(file, 0) + some.stop - some.start
    assert list(counts) == list(range(len(counts)))
    if rows_a_file is not None:
        assert all(count == rows_a_file for count in list(counts.values())[:-1])
        assert all(count <= rows_a_file for count in counts.values())


def test_files_are_told_apart_by_their_checksums(tmp_path: Path) -> None:
    """What was appended is recognised, in order, and nothing else is."""

    def files() -> PartFiles:
        return PartFiles(lambda number: tmp_path / str(number), rows_a_file=2)

    first = files()
    first.open()
    chunks = [first.append([b"a", b""]), first.append([b"cc", b"", b""])]
    first.close()
    assert [(chunk.part, chunk.offset, chunk.sizes) for chunk in chunks] == [
        (0, 0, [2, 1]),
        (1, 0, [3, 1, 1]),
    ]
    again = files()
    assert not again.check([2, 2], chunks[0].crc32)
    assert again.check([2, 1], chunks[0].crc32)
    assert not again.check([3, 1, 1], chunks[0].crc32)
    assert again.check([3, 1, 1], chunks[1].crc32)
    assert not again.check([1], 0)
    again.open()
    assert again.append([b"f"]).part == 2
    again.close()
    assert (tmp_path / "2").read_bytes() == b"\nf\n"


@pytest.mark.parametrize("ordered", [True, False])
def test_the_newest_version_of_a_record_counts(tmp_path: Path, ordered: bool) -> None:
    """A record that came again is written once, from where its newest version lies."""
    store = open_store(tmp_path, part_rows=3, ordered=ordered)
    add(store, "ab")
    add(store, "cab", newer=2)
    add(store, "a", newer=1)
    add(store, "a", source=1)
    found = [(record.source, record.part, record.offset) for record in store.records()]
    place_of = {"a": (0, 1, 20), "b": (0, 1, 10), "c": (0, 0, 20), "other a": (1, 2, 0)}
    names = ["a", "b", "c", "other a"] if ordered else ["c", "b", "a", "other a"]
    assert found == [place_of[name] for name in names]
    assert (store.counts.records, store.counts.newer, store.counts.pages) == (4, 3, 4)
    assert store.records_by_source() == {0: 3, 1: 1}
    store.close()


RECORDS = st.lists(
    st.tuples(st.integers(0, 3), st.text("abé\0", max_size=3), st.none() | st.floats(-1, 4e9)),
    unique_by=lambda record: record[:2],
    max_size=30,
)


@settings(max_examples=examples(30))
@given(RECORDS, st.lists(st.integers(0, 2), min_size=4, max_size=4), st.integers(1, 9))
def test_order_and_digests_say_nothing_of_how_records_arrived(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[int, str, float | None]],
    first_places: list[int],
    page_size: int,
) -> None:
    """Records come by source, then newest first, then by id; digests are those of what verify reads."""
    store = open_store(tmp_path_factory.mktemp("a"), ordered=True)
    for source in range(4):
        own = [record for record in records if record[0] == source]
        for start in range(0, len(own), page_size):
            some = own[start : start + page_size]
            _, ids, changed = zip(*some, strict=True)
            page = Page(source=source, checkpoint=b"", newer=0, ids=ids, changed=changed, details=())
            store.add_page(page, [f"{id_!r} {source}".encode() for id_ in ids])
    expected = sorted(
        records, key=lambda record: (record[0], -max(record[2] or 0.0, 0.0), record[1].encode())
    )
    lines = [read_line(store, record) for record in store.records()]
    assert lines == [f"{id_!r} {source}\n" for source, id_, _ in expected]
    with closing(IdDigests()) as digests:
        digests.add((first_places[source], id_) for source, id_, _ in records)
        assert store.id_digests(first_places) == (digests.ids(), digests.pairs())
    store.close()


def read_line(store: Store, record: Record) -> str:
    """Return what lies where a record does."""
    return store.part_path(record.part).read_bytes()[record.offset :][: record.size].decode()


def digests_of(*pairs: tuple[int | None, str]) -> tuple[str, str | None]:
    """Return the digests of ids and of pairs."""
    with closing(IdDigests()) as digests:
        digests.add(pairs)
        assert digests.counts.total() == len(pairs)
        return digests.ids(), digests.pairs()


def test_digests_of_ids_tell_sources_apart_where_they_are_known() -> None:
    """The same ids in other sources have another digest; in any order they have the same."""
    one, other = digests_of((0, "a"), (1, "b")), digests_of((1, "a"), (0, "b"))
    assert one[0] == other[0]
    assert one[1] != other[1]
    assert digests_of((1, "b"), (0, "a")) == one
    assert digests_of((None, "a"), (1, "b")) == (one[0], None)
    assert digests_of((0, "a"), (1, "b"), (1, "b"))[0] != one[0]


def test_details_are_missing_until_they_were_read_or_are_gone(tmp_path: Path) -> None:
    """Each is asked for once, in the order in which it was needed; failed ones are asked for again."""
    options = {"transcripts": True}
    store = open_store(tmp_path, **options)
    add(store, "ab", details=["1", None])
    add(store, "cde", details=["2", "1", "3"])
    add(store, "d", newer=1, details=[None])
    assert store.missing_details() == ["1", "2", "3"]
    store.add_failure(Failure(error="APITimeoutError", message="late", id="1"))
    store.add_gone("2")
    store.add_detail("3", b"{}")
    assert store.missing_details() == ["1"]
    store.close()
    again = open_store(tmp_path, **options)
    assert again.missing_details() == ["1"]
    assert (again.counts.details, again.counts.failed_details, again.counts.wanted_details) == (3, 1, 3)
    again.add_detail("1", b"[1]")
    assert again.missing_details() == []
    assert (again.counts.details, again.counts.failed_details, again.counts.details_bytes) == (3, 0, 7)
    told = again.transcripts()
    assert (told.fetched, told.gone, told.failed) == (2, ["2"], [])
    found = [(record.detail_offset, record.detail_size) for record in again.records()]
    assert found == [(3, 4), (None, None), (None, None), (0, 3), (None, None)]
    again.close()


@pytest.mark.parametrize("damage", ["row", "file"])
def test_a_detail_that_was_damaged_is_read_again(tmp_path: Path, damage: str) -> None:
    """So are those that were written behind it."""
    options = {"transcripts": True}
    store = open_store(tmp_path, **options)
    add(store, "abc", details=["1", "2", "3"])
    for id_ in "123":
        store.add_detail(id_, b"[%b]" % id_.encode())
    store.close()
    if damage == "row":
        change(tmp_path, "UPDATE details SET id = 'x' WHERE id = '2'")
    else:
        path = store.details_path(0)
        path.write_bytes(path.read_bytes().replace(b"[2]", b"[7]"))
    again = open_store(tmp_path, **options)
    assert again.missing_details() == ["2", "3"]
    assert (again.counts.details, again.counts.details_bytes) == (1, 4)
    again.close()
    assert store.details_path(0).read_bytes() == b"[1]\n"


def recording(call: str, error: str | None = None) -> RecordingFile:
    """Say how the download of a call's recording ended."""
    return RecordingFile(
        call_id=call,
        name="combined",
        url_host="host",
        path=None if error else f"{call}.mp3",
        bytes=0 if error else 5,
        sha256=None if error else "00",
        error=error,
    )


def test_recordings_are_known_by_call_and_name(tmp_path: Path) -> None:
    """One that failed counts as missing, and is replaced; a row that was changed is forgotten."""
    store = open_store(tmp_path, recordings=True)
    add(store, "abc")
    for file in (recording("a", "cut off"), recording("b"), recording("a"), recording("c")):
        store.add_recording(file)
    assert store.recordings() == [recording("b"), recording("a"), recording("c")]
    assert (store.counts.recordings, store.counts.recordings_bytes, store.counts.failed_recordings) == (
        3,
        15,
        0,
    )
    store.close()
    change(tmp_path, "UPDATE recordings SET sha256 = '01' WHERE call_id = 'a'")
    again = open_store(tmp_path, recordings=True)
    assert [again.has_recording(call, "combined") for call in "abcd"] == [False, True, True, False]
    assert not again.has_recording("b", "stereo")
    assert (again.counts.recordings, again.counts.recordings_bytes) == (2, 10)
    again.close()


def test_the_lock_is_on_the_disk_whenever_other_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It marks them as an export's: it is synced alone before the first of them, and after the last."""
    work = tmp_path / "out" / ".export"
    work.mkdir(parents=True)
    (work / "lock").touch()
    synced: list[set[str]] = []

    def sync(folder: Path) -> None:
        if folder == work:
            synced.append({path.name for path in folder.iterdir()})

    monkeypatch.setattr(store_module, "sync_directory", sync)
    store = open_store(tmp_path)
    add(store, "ab")
    store.remove()
    assert synced[0] == {"lock"}
    assert synced[-1] == {"lock"}
    assert any("index.db" in names for names in synced)
