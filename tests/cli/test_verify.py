"""The verify command: what it says of directories, and what it answers the shell."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from futureagi_async.cli import run
from futureagi_async.testing import StandInServer
from tests.support.commands import use_keys


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInServer]:
    """Run a stand-in that commands in this process read from."""
    with StandInServer() as running:
        use_keys(monkeypatch, running)
        yield running


@pytest.fixture
def exported(served: StandInServer, tmp_path: Path) -> Path:
    """Make an export of one list."""
    target = tmp_path / "out"
    assert run(["export", "--run-test", served.run_test_ids[2], "-o", str(target), "-q"]) == 0
    return target


def test_a_sound_directory(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All is well: one line, exit code 0."""
    assert run(["verify", str(exported)]) == 0
    out, err = capsys.readouterr()
    assert " ".join(out.split()).endswith("out: 16 records in 1 file, all unchanged.")
    assert not err


def test_a_directory_that_was_changed(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each thing that is wrong is a sentence, and the exit code is 1; programs get the same as JSON."""
    part = exported / "calls-00000.jsonl"
    part.write_bytes(part.read_bytes()[:-2] + b"\n")
    (exported / "calls-00001.jsonl").write_text("{}\n")
    assert run(["verify", str(exported)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith(" problems found.")
    assert any("calls-00001.jsonl" in line for line in lines)
    assert run(["verify", str(exported), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert len(found["problems"]) == int(lines[-1].split()[-3])


def test_a_sound_directory_of_an_incomplete_export(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was incomplete when it was written is told so, with exit code 3."""
    target = tmp_path / "out"
    lists = ["--run-test", served.run_test_ids[2], "--run-test", str(uuid4())]
    assert run(["export", *lists, "-o", str(target), "-q"]) == 3
    capsys.readouterr()
    assert run(["verify", str(target)]) == 3
    assert "The export was incomplete when it was written" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing", "file", "empty"])
def test_what_is_no_export(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A place without an export fails, with a sentence on what is missing."""
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    assert run(["verify", str(tmp_path / name)]) == 1
    out, err = capsys.readouterr()
    assert "There is no _manifest.json." in out if name == "empty" else err.startswith("error: Can't ")


def test_names_can_not_command_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory whose name holds an escape sequence is shown without it."""
    folder = tmp_path / "a\x1b[2Jb"
    folder.mkdir()
    assert run(["verify", str(folder)]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_a_directory_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without one the command is used wrongly."""
    assert run(["verify"]) == 2
    assert "The export is missing. For example: futureagi-async verify" in capsys.readouterr().err
