"""A file that appears under its name when it is finished, or not at all."""

import errno
import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from futureagi_async import ExportError
from futureagi_async.export.pending import open_pending


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def write(target: Path, data: bytes, *, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Write a file and give it its name; ``meanwhile`` happens between the two."""
    with open_pending(target) as pending:
        pending.write([data])
        meanwhile()
        await pending.commit()


@pytest.mark.anyio
async def test_a_commit_gives_the_file_its_name(tmp_path: Path) -> None:
    """Nothing stands under the name before the commit, and nothing but the file afterwards."""
    target = tmp_path / "calls.jsonl"
    with open_pending(target) as pending:
        pending.write([b"a", b"bc"])
        assert not target.exists()
        assert len(names_in(tmp_path)) == 1
        await pending.commit()
    assert target.read_bytes() == b"abc"
    assert pending.size == 3
    assert names_in(tmp_path) == {target.name}


@pytest.mark.anyio
async def test_only_the_owner_may_read(tmp_path: Path) -> None:
    """The file is private from its first byte on, whatever the file it replaces allowed."""
    target = tmp_path / "calls.jsonl"
    target.touch(0o666)
    with open_pending(target) as pending:
        (temporary,) = names_in(tmp_path) - {target.name}
        assert stat.S_IMODE((tmp_path / temporary).stat().st_mode) == 0o600
        await pending.commit()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.anyio
@pytest.mark.parametrize("error", [RuntimeError, GeneratorExit])
async def test_without_a_commit_nothing_is_left(tmp_path: Path, error: type[BaseException]) -> None:
    """Whatever ends the block, the temporary file is removed and the target untouched."""
    target = tmp_path / "calls.jsonl"
    target.write_text("before")

    def end() -> None:
        raise error

    with pytest.raises(error):
        await write(target, b"abc", meanwhile=end)
    assert names_in(tmp_path) == {target.name}
    assert target.read_text() == "before"


@pytest.mark.anyio
async def test_a_symbolic_link_is_replaced_not_followed(tmp_path: Path) -> None:
    """The file that a link at the target points to keeps its content."""
    other = tmp_path / "other.jsonl"
    other.write_text("before")
    target = tmp_path / "calls.jsonl"
    target.symlink_to(other)
    await write(target, b"abc")
    assert not target.is_symlink()
    assert target.read_text() == "abc"
    assert other.read_text() == "before"


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    """A directory or a device under the target's name is refused before anything is written."""
    target = tmp_path / "calls.jsonl"
    target.mkdir() if kind == "directory" else os.mkfifo(target)
    with pytest.raises(ExportError, match="no file"), open_pending(target):
        pass
    assert names_in(tmp_path) == {target.name}


@pytest.mark.anyio
async def test_a_directory_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """The check is made again when the file gets its name."""
    target = tmp_path / "calls.jsonl"
    with pytest.raises(ExportError):
        await write(target, b"abc", meanwhile=target.mkdir)
    assert names_in(tmp_path) == {target.name}


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """The error says which file can't be written, and why."""
    target = tmp_path / "nowhere" / "calls.jsonl"
    with (
        pytest.raises(ExportError, match=r"Can't write .*nowhere/calls\.jsonl: No such file"),
        open_pending(target),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="the super-user may write anywhere")
def test_a_read_only_directory_is_an_export_error(tmp_path: Path) -> None:
    """Where nothing may be written, the error says so."""
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ExportError, match="Permission denied"), open_pending(tmp_path / "calls.jsonl"):
            pass
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.anyio
async def test_a_file_that_can_not_grow_is_an_export_error(tmp_path: Path) -> None:
    """A write that the system refuses, as on a full disk, leaves the target untouched."""
    target = tmp_path / "calls.jsonl"
    target.write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(ExportError, match="File too large"):
            await write(target, b"x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names_in(tmp_path) == {target.name}
    assert target.read_text() == "before"


@pytest.mark.anyio
async def test_a_disk_that_fails_at_the_end_is_an_export_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that did not reach the disk does not get its name."""

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ExportError, match="Input/output error"):
        await write(tmp_path / "calls.jsonl", b"abc")
    assert not names_in(tmp_path)


@pytest.mark.anyio
async def test_a_long_name_is_no_hindrance(tmp_path: Path) -> None:
    """The temporary name fits wherever the target's does."""
    target = tmp_path / ("ü" * 124 + ".jsonl")
    await write(target, b"abc")
    assert names_in(tmp_path) == {target.name}
