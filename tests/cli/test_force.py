"""`export` and the files of others, from the shell."""

from pathlib import Path

import pytest

from tests.support.commands import environment, names_in, run_in_shell
from tests.support.slow import slow

FORCED = b"replace it with --force.\n"


def run(line: str, folder: Path) -> tuple[int, bytes]:
    """Run commands in a shell, and return the exit code and stderr."""
    finished = run_in_shell(line, variables=environment(), folder=folder)
    return finished.returncode, finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("prepare", ["printf 'id,mine\\n1,x\\n' > notes.csv", *slow("ln -s other notes.csv")])
def test_a_strangers_file_is_refused_in_one_line(tmp_path: Path, prepare: str) -> None:
    """The user is told what is in the way and how to replace it; with ``--force`` it is."""
    code, said = run(f"{prepare}; run export --demo -q -o notes.csv", tmp_path)
    assert (code, said.count(b"\n")) == (1, 1)
    assert said.startswith(
        (b"error: notes.csv already exists, and ", b"error: notes.csv is a symbolic link. ")
    )
    assert said.endswith((FORCED, b"replace the link itself with --force.\n"))
    assert names_in(tmp_path) == {"notes.csv"}
    assert run("run export --demo -q --force -o notes.csv", tmp_path) == (0, b"")
    assert run("run export --demo -q -o notes.csv", tmp_path) == (0, b"")
    assert names_in(tmp_path) == {"notes.csv"}


@pytest.mark.slow
def test_a_strangers_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    """Likewise a directory: the file that is in the way is named."""
    code, said = run("mkdir out; echo x > out/README; run export --demo -q -o out/", tmp_path)
    assert code == 1
    assert said == (
        b"error: out/README already exists, but the directory has no manifest. Choose another directory, or "
        b"write into this one with --force.\n"
    )
    assert names_in(tmp_path / "out") == {"README"}
    assert run("run export --demo -q --force -o out/", tmp_path) == (0, b"")
    assert (tmp_path / "out" / "README").read_text() == "x\n"


def test_the_help_says_what_is_replaced(tmp_path: Path) -> None:
    """``--help`` has the option, and the rule."""
    finished = run_in_shell("run export --help", variables=environment(), folder=tmp_path)
    shown = " ".join(finished.stdout.decode().replace("│", " ").split())
    assert "--force" in shown
    assert "An export replaces only files that an export wrote" in shown
