"""What an unfinished export keeps on the disk: damage is noticed, and what is whole is gone on from."""

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from futureagi_async import ExportError, RunTestCalls
from futureagi_async.export import store as workspace_module
from futureagi_async.export.manifest import identify
from futureagi_async.export.part_files import LineFiles, Lines
from futureagi_async.export.store import Workspace
from futureagi_async.export.targets import read_target
from tests.test_export_journal import NOW, SOURCE, make_parameters, page


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Begin an export and stage five pages of one record."""
    made = open_workspace(tmp_path)
    for name in "abcde":
        stage(made, name)
    yield made
    made.close()


def open_workspace(folder: Path, *, resume: bool = True, **changed: Any) -> Workspace:
    """Open the workspace of an export."""
    target = read_target(folder / "out", None)
    target.work.mkdir(parents=True, exist_ok=True)
    made = Workspace(target, make_parameters(**changed))
    made.open(NOW, resume=resume)
    return made


def stage(workspace: Workspace, name: str) -> None:
    """Stage a page of one record."""
    lines = Lines()
    workspace.stage.place([name.encode() * 9], lines)  # ten bytes, with the newline
    sums = list(lines.sums.values())
    workspace.keep_staged(lines, msgspec.structs.replace(page(name), sums=sums, mark=name.encode()))


def append(files: LineFiles, records: list[bytes]) -> list[str]:
    """Write records; return the sums of the files touched."""
    lines = Lines()
    files.place(records, lines)
    files.write(lines)
    return list(lines.sums.values())


def marks_after(folder: Path, **options: Any) -> bytes:
    """Open the workspace once more, and return the marks that it kept."""
    again = open_workspace(folder, **options)
    again.close()
    return b"".join(again.marks())


def test_what_is_whole_is_gone_on_from(workspace: Workspace, tmp_path: Path) -> None:
    """All pages are kept; appending goes on behind them, in a new file where the last one is full."""
    workspace.close()
    again = open_workspace(tmp_path)
    assert b"".join(again.marks()) == b"abcde"
    stage(again, "f")
    stage(again, "g")
    again.close()
    assert [again.staged_path(number).read_bytes() for number in again.stage_files] == [
        b"aaaaaaaaa\nbbbbbbbbb\n",
        b"ccccccccc\nddddddddd\n",
        b"eeeeeeeee\nfffffffff\n",
        b"ggggggggg\n",
    ]
    assert again.state.resumed == 1
    assert marks_after(tmp_path) == b"abcdefg"


@pytest.mark.parametrize(
    ("number", "place", "kept"), [(0, 0, b""), (0, 15, b"a"), (1, 3, b"ab"), (2, 9, b"abcd")]
)
@pytest.mark.parametrize("how", ["changed", "cut", "missing"])
def test_a_damaged_stage_file_is_noticed(
    workspace: Workspace, tmp_path: Path, number: int, place: int, kept: bytes, how: str
) -> None:
    """A page of which a byte changed, or was lost, and all after it, are read again."""
    workspace.close()
    path = workspace.staged_path(number)
    content = bytearray(path.read_bytes())
    if how == "changed":
        content[place] ^= 1
        path.write_bytes(content)
    elif how == "cut":
        path.write_bytes(content[:place])
    else:
        path.unlink()
        kept = b"abcdef"[: number * 2]
    assert marks_after(tmp_path) == kept
    assert marks_after(tmp_path) == kept


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells files by /proc")
@pytest.mark.parametrize(
    ("limits", "synced_after"), [((25, 1e9), "cf"), ((1e9, -1.0), "abcdefg"), ((1e9, 1e9), "")]
)
def test_files_are_brought_onto_the_disk_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[float, float], synced_after: str
) -> None:
    """After so many bytes, after so many seconds, and at the end; journal and records alike."""
    monkeypatch.setattr(workspace_module, "_SYNC_BYTES", limits[0])
    monkeypatch.setattr(workspace_module, "_SYNC_SECONDS", limits[1])
    made = open_workspace(tmp_path, part_rows=None)
    synced: list[str] = []
    real_fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    found = ""
    for name in "abcdefg":
        stage(made, name)
        if synced:
            assert {"journal", "stage-00000.jsonl"} <= set(synced)
            found, synced[:] = found + name, []
    assert found == synced_after
    made.leave()
    assert {"journal", "stage-00000.jsonl"} <= set(synced)


def test_what_stands_behind_the_last_entry_is_cut_off(workspace: Workspace, tmp_path: Path) -> None:
    """Records without an entry, whole files of them too, do not count."""
    assert len(append(workspace.stage, [b"x" * 10, b"y" * 10, b"z" * 10])) == 2
    workspace.close()
    with workspace.journal_path.open("ab") as journal:
        journal.write(b"0000")
    again = open_workspace(tmp_path)
    again.close()
    assert again.staged_path(2).read_bytes() == b"eeeeeeeee\n"
    assert not again.staged_path(3).exists()
    assert marks_after(tmp_path) == b"abcde"


def test_a_journal_that_begins_with_nothing_is_begun_anew(workspace: Workspace, tmp_path: Path) -> None:
    """Where the first entry is damaged, nothing after it can be trusted."""
    workspace.close()
    text = bytearray(workspace.journal_path.read_bytes())
    text[20] ^= 1
    workspace.journal_path.write_bytes(text)
    assert marks_after(tmp_path) == b""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": "csv"}, "format was 'jsonl' and is now 'csv'"),
        ({"page_size": 50}, "page_size was 100 and is now 50"),
        ({"transcripts": True}, "transcripts was False and is now True"),
        ({"sources": []}, "1 of its sources are missing and 0 are new"),
        ({"since": "abc"}, "since was None and is now 'abc'"),
    ],
)
def test_other_parameters_are_refused(
    workspace: Workspace, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    """The error names what differs and what to do; nothing is lost, and a new beginning can be asked for."""
    workspace.close()
    with pytest.raises(ExportError, match=said) as caught:
        open_workspace(tmp_path, **changed)
    assert "resume=False (--restart)" in str(caught.value)
    assert marks_after(tmp_path) == b"abcde"
    assert marks_after(tmp_path, resume=False, **changed) == b""


def test_sources_in_another_order_are_other_sources() -> None:
    """Marks count sources, so their order matters; the words say that it is nothing else."""
    two = [identify(SOURCE), identify(RunTestCalls(SOURCE.run_test_id, status="failed"))]
    now, before = make_parameters(sources=two), make_parameters(sources=two[::-1])
    assert now.differences(before) == ["the sources are the same in another order"]


def test_another_version_of_the_package_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    """Marks are a version's own: the error says which one is needed."""
    workspace.close()
    text = workspace.journal_path.read_bytes()
    first = json.loads(text.splitlines()[0][9:])
    body = json.dumps({**first, "package": "0.0.1"}).encode()
    workspace.journal_path.write_bytes(b"%08x %b\n" % (zlib.crc32(body), body))
    with pytest.raises(ExportError, match=r"version 0\.0\.1 of this package"):
        open_workspace(tmp_path)


def test_files_are_told_apart_by_their_sums(tmp_path: Path) -> None:
    """What was appended is recognised, in order, and nothing else is."""
    files = LineFiles(lambda number: tmp_path / str(number), rows_a_file=2)
    files.open()
    sums = [append(files, [b"aa", b"b"]), append(files, [b"ccc", b"d", b"e"])]
    files.close()
    again = LineFiles(lambda number: tmp_path / str(number), rows_a_file=2)
    assert not again.check([2, 2], sums[0])
    assert again.check([2, 1], sums[0])
    assert again.check([3, 1, 1], sums[1])
    assert not again.check([1], ["no such sum"])
    again.open()
    assert append(again, [b"f"]) != [sums[1][-1]]
    again.close()
    assert (tmp_path / "2").read_bytes() == b"ef"
