"""A slice of ``python -m tests.long powercut``, and the model of a disk that it trusts."""

import random
import subprocess
import sys
from pathlib import Path, PurePath

import pytest

from tests.long import powercut
from tests.long.powercut import NEEDS_STRACE, WAYS, is_good, run_all, table
from tests.long.recorded_disk import (
    DIRECTORY,
    SECTOR,
    Event,
    PowerCut,
    Rename,
    State,
    Sync,
    SyncDirectory,
    Truncate,
    Write,
    can_record,
    record,
    state_after,
)

FOLDER, OLD, NEW = PurePath("/f"), PurePath("/f/old"), PurePath("/f/new")
needs_strace = pytest.mark.skipif(not can_record(), reason=NEEDS_STRACE)


def states(*events: Event) -> list[State]:
    """Return what the disk may hold after these events, in many ways."""
    chance = random.Random(1)
    fates = [PowerCut(len(events), content, names) for content in FATES for names in FATES]
    return [state_after(events, cut, chance) for cut in fates for _ in range(50)]


FATES = powercut._FATES


def test_what_was_synced_stays() -> None:
    """Neither the bytes of a file that was synced nor its name in a directory that was are ever missing."""
    found = states(
        Rename({OLD: 1}),
        Write(1, 0, b"abc"),
        Truncate(1, 2),
        Sync(1),
        SyncDirectory(FOLDER),
        Write(1, 2, b"z"),
    )
    assert {state[OLD] for state in found} == {b"ab", b"abz", b"ab\0"}


def test_what_was_not_synced_is_there_in_any_part() -> None:
    """Sectors are there or not, whatever their order, and the size may tell of bytes that are not."""
    data = b"a" * SECTOR + b"b" * SECTOR + b"c"
    found = states(Rename({OLD: 1}), SyncDirectory(FOLDER), Write(1, 0, data))
    contents = {state[OLD] for state in found}
    assert {b"", data, bytes(SECTOR) + data[SECTOR:], data[:SECTOR], bytes(len(data))} <= contents
    assert {content[:SECTOR] for content in contents if content} == {bytes(SECTOR), data[:SECTOR]}


def test_a_name_changes_at_once_or_not() -> None:
    """A file has its old name or its new one, and none where its directory was never synced."""
    synced = [Rename({OLD: 1}), SyncDirectory(FOLDER), Rename({OLD: None, NEW: 1})]
    assert {frozenset(state) for state in states(*synced)} == {frozenset({OLD}), frozenset({NEW})}
    never = [Rename({OLD: 1}), Sync(1)]
    assert {frozenset(state) for state in states(*never)} == {frozenset({OLD}), frozenset()}


def test_what_is_in_a_directory_that_is_missing_is_missing() -> None:
    """It was synced itself, but the directory's own name was not."""
    inner, file = FOLDER / "d", FOLDER / "d" / "x"
    found = states(Rename({inner: DIRECTORY}), Rename({file: 1}), SyncDirectory(inner))
    assert {frozenset(state) for state in found} == {frozenset({inner, file}), frozenset()}


PROGRAM = """
import os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / "made").mkdir()
descriptor = os.open(folder / "made" / "a", os.O_CREAT | os.O_WRONLY)
os.write(descriptor, b"12")
os.pwrite(descriptor, b"x", 5)
os.writev(descriptor, [b"3", b"4"])
os.fsync(descriptor)
os.ftruncate(descriptor, 3)
(folder / "made" / "a").rename(folder / "b")
directory = os.open(folder, os.O_RDONLY)
os.fsync(directory)
(folder / "made").rmdir()
(pathlib.Path(sys.argv[0]).parent / "elsewhere").touch()
"""


@needs_strace
def test_a_program_s_calls_are_understood(tmp_path: Path) -> None:
    """Every write, size, sync and name, in their order, and nothing outside of the folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    events = record([sys.executable, str(tmp_path / "program.py"), str(folder)], folder)
    made, old, new = folder / "made", folder / "made" / "a", folder / "b"
    assert events == [
        Rename({made: DIRECTORY}),
        Rename({old: 1}),
        Write(1, 0, b"12"),
        Write(1, 5, b"x"),
        Write(1, 2, b"34"),
        Sync(1),
        Truncate(1, 3),
        Rename({old: None, new: 1}),
        SyncDirectory(folder),
        Rename({made: None}),
    ]


@needs_strace
@pytest.mark.slow
def test_exports_go_on_after_power_cuts() -> None:
    """From some of the states that the disk may be in, the result is that of an uninterrupted export."""
    tallies = run_all(states=9, seed=1, ways=WAYS[1:2])
    assert all(map(is_good, tallies.values())), list(table(tallies))


def test_without_strace_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where system calls can't be recorded, the command says so and ends with 2."""
    command = [sys.executable, "-m", "tests.long", "powercut"]
    monkeypatch.setenv("PATH", "/nonexistent")
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "apt-get install strace" in run.stderr
