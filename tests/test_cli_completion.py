"""Shell completion: the scripts are what the shells take, and complete commands, options and choices."""

import shutil
import subprocess
from pathlib import Path

import pytest

from futureagi_async.cli import run

_ASK = """
source "$1"
shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
function=$(complete -p futureagi-async | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["ex"], {"execution", "export"}),
        (["export", "--run"], {"--run-test"}),
        (["export", "--demo", "--format", ""], {"jsonl", "csv", "parquet"}),
        (["completion", "f"], {"fish"}),
    ],
)
def test_bash_completes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], completed: set[str]
) -> None:
    """A real bash, given the script, completes what was begun."""
    assert run(["completion", "bash"]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    asked = ["bash", "--norc", "-c", _ASK, "bash", str(script), "futureagi-async", *words]
    finished = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=20)
    assert not finished.stderr
    assert set(finished.stdout.split()) == completed


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_their_scripts(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    """The script names every command and the options, and is accepted where the shell is installed."""
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("export", "verify", "plan", "since-manifest", "allow-private-hosts"):
        assert word in script
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=script, text=True, check=False, timeout=20)
        assert checked.returncode == 0


@pytest.mark.parametrize("arguments", [[], ["powershell"]])
def test_another_shell_is_a_usage_error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Which shells are known is told."""
    assert run(["completion", *arguments]) == 2
    assert "bash" in capsys.readouterr().err or not arguments
