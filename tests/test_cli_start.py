"""Starting the command line: by module, by script, without its libraries, for help."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import futureagi_async
from futureagi_async.cli import run

START = "from futureagi_async.__main__ import main; sys.exit(main())"
SCRIPT = Path(sys.executable).with_name("futureagi-async")


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=20
    )


def test_the_module_runs() -> None:
    """``python -m futureagi_async`` is the command line."""
    finished = run_python("-m", "futureagi_async", "--version")
    assert finished.returncode == 0
    assert finished.stdout == f"futureagi-async {futureagi_async.__version__}\n"


@pytest.mark.skipif(not SCRIPT.exists(), reason="the package is not installed with its script")
def test_the_script_runs() -> None:
    """``futureagi-async`` is the same, and passes the exit code on."""
    finished = subprocess.run(
        [SCRIPT, "call", "no-id"], capture_output=True, text=True, check=False, timeout=20
    )
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ")


@pytest.mark.parametrize("library", ["cyclopts", "rich"])
def test_missing_libraries_are_named(library: str) -> None:
    """Without an optional library there is one line that says what to install."""
    code = f"import sys; sys.modules[{library!r}] = None; {START}"
    finished = run_python("-c", code)
    assert finished.returncode == 2
    assert not finished.stdout
    assert finished.stderr == (
        f"error: The command line needs {library}: pip install 'cyclopts>=5' 'rich>=13.9'\n"
    )


def test_install_lines_name_what_the_extras_name() -> None:
    """Each line on a missing library installs requirements of the extras, from any package index."""
    root = Path(futureagi_async.__file__).parent
    extras = tomllib.loads((root.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    known = {requirement.partition(";")[0] for extra in extras.values() for requirement in extra}
    named = [
        requirement
        for path in root.rglob("*.py")
        for line in re.findall(r"pip install ((?:'[^']+' ?)+)", path.read_text())
        for requirement in re.findall(r"'([^']+)'", line)
    ]
    assert len(named) >= 6
    assert set(named) <= known


@pytest.mark.parametrize("library", ["fastapi", "opentelemetry"])
def test_integrations_say_what_they_need(library: str) -> None:
    """Without its library, importing an integration says how to install it."""
    code = f"import sys; sys.modules[{library!r}] = None; import futureagi_async.integrations.{library}"
    finished = run_python("-c", code)
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    assert last.startswith(f"ModuleNotFoundError: futureagi_async.integrations.{library} needs ")
    assert "pip install '" in last


def test_a_broken_installation_is_no_missing_extra() -> None:
    """If a library of the package itself is missing, that is told as Python tells it."""
    code = f"import sys; sys.modules['msgspec'] = None; {START}"
    finished = run_python("-c", code)
    assert "ModuleNotFoundError" in finished.stderr
    assert "pip install" not in finished.stderr


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever types the bare name learns the commands and a first thing to try."""
    assert run([]) == 0
    out = capsys.readouterr().out
    for word in (*COMMANDS, "--demo", "FI_API_KEY"):
        assert word in out


COMMANDS = ("call", "completion", "execution", "export", "kpis", "plan", "serve", "verify")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command explains itself, within 80 columns, and mentions no argument for keys."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: futureagi-async {command}")
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "--api-key" not in out


def test_the_help_of_export_has_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger learns from the help alone what to type, where keys go, and what the exit codes mean."""
    run(["export", "--help"])
    out = capsys.readouterr().out
    for words in (
        "futureagi-async export --demo -o calls.jsonl",
        "FI_SECRET_KEY",
        "(ps)",
        "3 written, but something is missing",
        "The same command goes on",
        "130",
    ):
        assert words in out


def test_an_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error is a usage error of one line."""
    assert run(["exprot"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: Unknown command")
    assert "export" in err
    assert err.count("\n") == 1


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """Where the other end of a pipe is closed, the command ends without a traceback."""
    code = f"import os, sys; reading, writing = os.pipe(); os.close(reading); os.dup2(writing, 1); {START}"
    finished = run_python("-c", code, "call", "--demo", "--json")
    assert finished.returncode == 1
    assert not finished.stderr
