"""What an export may replace: what an export wrote. Everything else is refused, or forced."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from futureagi_async import ExportError, RunTestCalls
from futureagi_async.export import ExportReport, export_calls, verify_export
from futureagi_async.testing import StandInServer
from tests.support.exports import all_lists, export, interrupt, names_in
from tests.support.sessions import open_session

NAMES = ["calls.jsonl", "calls.csv", "calls.csv.gz", "calls.parquet", "calls.jsonl.zst"]
MINE = b"id,mine\n1,x\n"


async def export_one(
    served: StandInServer, target: Path, number: int = 2, *, overwrite: bool = False
) -> ExportReport:
    async with open_session(served) as session:
        return await export_calls(
            session, RunTestCalls(served.run_test_ids[number]), target, overwrite=overwrite
        )


async def assert_refused(served: StandInServer, target: Path, said: str) -> None:
    """Export, and hold that this is refused in one sentence or two, and that nothing else happened."""
    before = {path: path.lstat() for path in target.parent.rglob("*")}
    served.clear_requests()
    with pytest.raises(ExportError, match=said) as caught:
        await export_one(served, target)
    assert "\n" not in str(caught.value)
    assert not served.requests
    assert {path: path.lstat().st_ino for path in target.parent.rglob("*")} == {
        path: found.st_ino for path, found in before.items()
    }


@pytest.fixture(params=["attributes", "beside"])
def receipts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the file system have extended attributes, or none."""

    def refuse(*_: object, **__: object) -> bytes:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    if request.param == "beside":
        for name in ("setxattr", "getxattr"):
            monkeypatch.setattr(os, name, refuse, raising=False)
    elif not hasattr(os, "setxattr"):
        pytest.skip("there are no extended attributes")
    return str(request.param)


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_a_strangers_file_is_refused_or_forced(
    served: StandInServer, tmp_path: Path, name: str
) -> None:
    """A file that no export wrote keeps its content, unless told otherwise."""
    target = tmp_path / name
    target.write_bytes(MINE)
    await assert_refused(
        served, target, r"already exists.*no record that an export.*overwrite=True \(--force\)\.$"
    )
    assert target.read_bytes() == MINE
    report = await export_one(served, target, overwrite=True)
    assert report.complete
    assert verify_export(target).records == report.records > 0
    assert names_in(tmp_path) == {name}
    assert (await export_one(served, target)).complete  # it is an export's now


@pytest.mark.quick(3)
@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_a_file_of_an_earlier_export_is_replaced(
    served: StandInServer, tmp_path: Path, receipts: str, name: str
) -> None:
    """Night after night, whatever was exported before, by whichever receipt the system allows."""
    sizes = set()
    for number in (2, 1, 2):
        report = await export_one(served, tmp_path / name, number)
        sizes.add(report.records)
        assert verify_export(tmp_path / name).records == report.records
    assert len(sizes) == 2
    hidden = {f".{name}.receipt"} if receipts == "beside" else set()
    assert names_in(tmp_path) == {name} | hidden


def put(path: Path) -> None:
    path.write_bytes(MINE)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"id":"mine"}\n')


def change_a_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"completed", b"completeD", 1))
    assert path.stat().st_size == len(content)


def edit_as_sed_does(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes().replace(b"completed", b"done", 1))
    other.replace(path)


def put_another(path: Path) -> None:
    path.unlink()
    path.write_bytes(MINE)


@pytest.mark.quick(3)
@pytest.mark.anyio
@pytest.mark.parametrize("edit", [append, change_a_byte, edit_as_sed_does, put_another])
async def test_an_edited_file_is_a_strangers(
    served: StandInServer, tmp_path: Path, receipts: str, edit: Callable[[Path], None]
) -> None:
    """What somebody changed since an export wrote it is theirs."""
    assert receipts
    target = tmp_path / "calls.jsonl"
    await export_one(served, target)
    edit(target)
    content = target.read_bytes()
    await assert_refused(served, target, r"already exists, and (it was changed|there is no record).*--force")
    assert target.read_bytes() == content
    assert (await export_one(served, target, overwrite=True)).complete
    assert (await export_one(served, target)).complete


@pytest.mark.anyio
async def test_a_file_takes_its_receipt_along(served: StandInServer, tmp_path: Path) -> None:
    """A file that was moved, or copied with its attributes, is an export's there too; another copy is not."""
    if not hasattr(os, "setxattr"):
        pytest.skip("there are no extended attributes")
    await export_one(served, tmp_path / "calls.jsonl")
    (tmp_path / "kept").mkdir()
    shutil.copy2(tmp_path / "calls.jsonl", tmp_path / "kept" / "a.jsonl")
    shutil.copyfile(tmp_path / "calls.jsonl", tmp_path / "kept" / "b.jsonl")
    (tmp_path / "calls.jsonl").rename(tmp_path / "kept" / "calls.jsonl")
    assert (await export_one(served, tmp_path / "kept" / "calls.jsonl")).complete
    assert (await export_one(served, tmp_path / "kept" / "a.jsonl")).complete
    await assert_refused(served, tmp_path / "kept" / "b.jsonl", "there is no record that an export wrote it")


@pytest.mark.anyio
async def test_an_empty_file_is_nobodys_loss(served: StandInServer, tmp_path: Path) -> None:
    """What mktemp makes, or touch, is replaced without further ado."""
    (tmp_path / "calls.jsonl").touch()
    assert (await export_one(served, tmp_path / "calls.jsonl")).complete


@pytest.mark.anyio
@pytest.mark.parametrize("to", ["other.jsonl", "nowhere.jsonl", "calls.jsonl"])
async def test_a_link_is_refused_or_replaced_and_never_followed(
    served: StandInServer, tmp_path: Path, to: str
) -> None:
    """What a link at the target points to is never touched, be it there or not; forced, the link goes."""
    other, target = tmp_path / "other.jsonl", tmp_path / "calls.jsonl"
    other.write_bytes(MINE)
    target.symlink_to(to)
    await assert_refused(served, target, r"is a symbolic link.*name the file that it points to, or replace")
    assert (await export_one(served, target, overwrite=True)).complete
    assert not target.is_symlink()
    assert other.read_bytes() == MINE
    assert names_in(tmp_path) == {"calls.jsonl", "other.jsonl"}


@pytest.mark.anyio
async def test_a_link_to_an_export_is_still_a_link(served: StandInServer, tmp_path: Path) -> None:
    """Even where it points to a file that an export wrote, it is the user's."""
    await export_one(served, tmp_path / "monday.jsonl")
    (tmp_path / "latest.jsonl").symlink_to("monday.jsonl")
    await assert_refused(served, tmp_path / "latest.jsonl", "is a symbolic link")


@pytest.mark.anyio
async def test_a_directory_behind_a_dangling_link_is_an_error(served: StandInServer, tmp_path: Path) -> None:
    """A link to a directory is that directory, and there is none."""
    (tmp_path / "out").symlink_to("nowhere")
    await assert_refused(
        served, tmp_path / "out", r"out: it is a symbolic link to .*nowhere, which does not exist"
    )


@pytest.mark.anyio
async def test_a_file_that_came_meanwhile_stays(served: StandInServer, tmp_path: Path) -> None:
    """Reading may take hours: what is put there meanwhile is not replaced, and what was read is kept."""
    target = tmp_path / "calls.jsonl"
    async with open_session(served) as session:
        source = RunTestCalls(served.run_test_ids[2])
        with pytest.raises(ExportError, match=r"already exists.*The records that were read are kept"):
            await export_calls(session, source, target, on_progress=lambda _: put(target))
        assert target.read_bytes() == MINE
        target.unlink()
        report = await export_calls(session, source, target)
    assert (report.complete, report.resumed) == (True, 1)
    assert names_in(tmp_path) == {"calls.jsonl"}


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_incomplete_file_that_was_edited_stays(served: StandInServer, tmp_path: Path) -> None:
    """Going on with an incomplete export does not undo what somebody did to its file meanwhile."""
    sources = [RunTestCalls(served.run_test_ids[0]), RunTestCalls(served.run_test_ids[1])]
    target = tmp_path / "calls.csv"
    served.fail(sources[1].run_test_id, status=400, times=100)
    async with open_session(served) as session:
        assert not (await export_calls(session, sources, target)).complete
        served.clear_faults()
        edited = target.read_bytes() + b"mine\r\n"
        target.write_bytes(edited)
        with pytest.raises(ExportError, match="was changed after an export wrote it"):
            await export_calls(session, sources, target)
        assert target.read_bytes() == edited
        report = await export_calls(session, sources, target, overwrite=True)
    assert (report.complete, report.resumed) == (True, 1)
    assert names_in(tmp_path) == {"calls.csv"}


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
async def test_an_incomplete_file_is_replaced_when_it_is_gone_on_with(
    served: StandInServer, tmp_path: Path, receipts: str, ending: str
) -> None:
    """The file of a first run is the export's own."""
    assert receipts
    sources = [RunTestCalls(served.run_test_ids[0]), RunTestCalls(served.run_test_ids[1])]
    served.fail(sources[1].run_test_id, status=400, times=100)
    async with open_session(served) as session:
        first = await export_calls(session, sources, tmp_path / f"calls.{ending}")
        served.clear_faults()
        report = await export_calls(session, sources, tmp_path / f"calls.{ending}")
    assert (first.complete, report.complete, report.resumed) == (False, True, 1)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "name",
    [
        "notes.csv",
        "README",
        "calls-00000.jsonl",
        "calls-00007.parquet",
        "_evaluations/evaluations-00000.parquet",
    ],
)
async def test_a_strangers_directory_is_refused_or_forced(
    served: StandInServer, tmp_path: Path, name: str
) -> None:
    """Files that no manifest explains are named; forced, they stay, but for those named like parts."""
    folder = tmp_path / "out"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(MINE)
    await assert_refused(
        served, folder, r"already exists, but the directory has no manifest.*overwrite=True \(--force\)\.$"
    )
    assert (folder / name).read_bytes() == MINE
    assert (await export_one(served, folder, overwrite=True)).complete
    assert verify_export(folder).ok
    if name in ("notes.csv", "README"):
        assert (folder / name).read_bytes() == MINE
    assert not names_in(folder) - {"calls-00000.jsonl", "_manifest.json", "notes.csv", "README"}
    assert (await export_one(served, folder)).already_finished


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["manifest.json", "_manifest.json"])
@pytest.mark.parametrize("content", ['{"name": "an app"}', "", "[]"])
async def test_a_strangers_manifest_is_refused_or_forced(
    served: StandInServer, tmp_path: Path, name: str, content: str
) -> None:
    """A directory that has another program's manifest is that program's; forced, only our name is taken."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(content)
    await assert_refused(served, tmp_path / "out", r"manifest\.json: .*Choose another directory, or.*--force")
    assert (await export_one(served, tmp_path / "out", overwrite=True)).complete
    assert verify_export(tmp_path / "out").ok
    if name == "manifest.json":
        assert (tmp_path / "out" / name).read_text() == content


@pytest.mark.anyio
async def test_what_readers_skip_is_in_nobodys_way(served: StandInServer, tmp_path: Path) -> None:
    """Hidden files, names that begin with an underscore, and folders stay, and don't count."""
    (tmp_path / "out" / "lost+found").mkdir(parents=True)
    for name in (".gitkeep", ".DS_Store", "_SUCCESS"):
        (tmp_path / "out" / name).write_bytes(MINE)
    assert (await export_one(served, tmp_path / "out")).complete
    for name in (".gitkeep", ".DS_Store", "_SUCCESS"):
        assert (tmp_path / "out" / name).read_bytes() == MINE


@pytest.mark.anyio
async def test_files_beside_an_exports_own_stay(served: StandInServer, tmp_path: Path) -> None:
    """In a directory of an earlier export, files of others are no reason to refuse, and no part of it."""
    await export(served, tmp_path / "out", format="parquet")
    (tmp_path / "out" / "notes.csv").write_bytes(MINE)
    report = await export(served, tmp_path / "out", format="csv", resume=False)
    assert (tmp_path / "out" / "notes.csv").read_bytes() == MINE
    assert names_in(tmp_path / "out") == {"notes.csv", "_manifest.json", *(p.name for p in report.files)}


@pytest.mark.quick(2)
@pytest.mark.anyio
@pytest.mark.parametrize("edit", [append, change_a_byte, edit_as_sed_does, put_another])
async def test_an_edited_part_is_a_strangers(
    served: StandInServer, tmp_path: Path, edit: Callable[[Path], None]
) -> None:
    """Replacing an export spares a part that somebody changed, unless told otherwise."""
    await export(served, tmp_path / "out")
    part = tmp_path / "out" / "calls-00001.jsonl"
    edit(part)
    content = part.read_bytes()
    served.clear_requests()
    with pytest.raises(ExportError, match=r"calls-00001\.jsonl was changed after an export wrote it"):
        await export(served, tmp_path / "out", resume=False)
    assert not served.requests
    assert part.read_bytes() == content
    assert (await export(served, tmp_path / "out", resume=False, overwrite=True)).complete
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
async def test_a_part_that_was_added_is_a_strangers(served: StandInServer, tmp_path: Path) -> None:
    """A file that is named like a part, and in no manifest, is not written over."""
    await export(served, tmp_path / "out")
    (tmp_path / "out" / "calls-00099.jsonl").write_bytes(MINE)
    with pytest.raises(
        ExportError, match=r"calls-00099\.jsonl already exists, but the manifest does not list it"
    ):
        await export(served, tmp_path / "out", resume=False)
    assert (await export(served, tmp_path / "out", resume=False, overwrite=True)).complete
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(("name", "work"), [("calls.jsonl", ".calls.jsonl.export"), ("out", "out/.export")])
@pytest.mark.parametrize("file", ["notes.txt", "index.db", "part-00000.jsonl", "deep/calls.jsonl"])
async def test_a_strangers_working_directory_is_refused(
    served: StandInServer, tmp_path: Path, overwrite: bool, name: str, work: str, file: str
) -> None:
    """Where no export ever worked, none works, and nothing is used or removed, whatever its name."""
    (tmp_path / work / file).parent.mkdir(parents=True)
    (tmp_path / work / file).write_bytes(MINE)
    with pytest.raises(ExportError, match=r"has files that no export wrote, such as .*move the files away"):
        await export_one(served, tmp_path / name, overwrite=overwrite)
    assert not served.requests
    assert (tmp_path / work / file).read_bytes() == MINE
    assert names_in(tmp_path / work) == {file.split("/")[0]}


@pytest.mark.quick(2)
@pytest.mark.anyio
@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(("name", "work"), [("calls.jsonl", ".calls.jsonl.export"), ("out", "out/.export")])
async def test_files_of_others_among_an_exports_own_stay(
    served: StandInServer, tmp_path: Path, resume: bool, name: str, work: str
) -> None:
    """What somebody put into the working directory outlives the export, which goes on without it."""
    async with open_session(served, max_in_flight=1) as session:
        await interrupt(session, all_lists(served), tmp_path / name)
        mine = [tmp_path / work / file for file in ("notes.txt", "my.part", "part-1.jsonl", "deep/index.db")]
        mine[-1].parent.mkdir()
        for path in mine:
            path.write_bytes(MINE)
        report = await export_calls(session, all_lists(served), tmp_path / name, resume=resume)
        assert report.complete
        assert [path.read_bytes() for path in mine] == [MINE] * len(mine)
        assert names_in(tmp_path / work) == {"lock", "notes.txt", "my.part", "part-1.jsonl", "deep"}
        assert verify_export(tmp_path / name).complete is not False
        again = await export_calls(session, all_lists(served), tmp_path / name)
    assert (again.complete, again.records) == (True, report.records)
    assert [path.read_bytes() for path in mine] == [MINE] * len(mine)


@pytest.mark.anyio
async def test_an_interruption_between_receipt_and_file_is_no_change(
    served: StandInServer, tmp_path: Path, receipts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new receipt is there and the old file, that file is still an export's."""
    assert receipts
    target = tmp_path / "calls.csv"
    await export_one(served, target, 1)

    def fail(*_: object) -> None:
        raise LookupError

    with monkeypatch.context() as patch:
        patch.setattr("futureagi_async.export.publish.replace_file", fail)
        with pytest.raises(LookupError):
            await export_one(served, target, 2)
    assert verify_export(target).records == len(served.run_test_rows(served.run_test_ids[1]))
    report = await export_one(served, target, 2)
    assert (report.complete, report.resumed) == (True, 1)
