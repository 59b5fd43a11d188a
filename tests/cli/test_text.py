"""Words and figures for people."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async.cli import run
from futureagi_async.cli.formatting import (
    clean,
    format_bytes,
    format_count,
    format_duration,
    format_number,
    format_time,
    one_line,
)


@given(st.text())
def test_no_command_reaches_a_terminal(text: str) -> None:
    """Of all control characters only newlines are kept, and not even those on one line."""
    assert all(character == "\n" or not is_command(character) for character in clean(text))
    assert not any(map(is_command, one_line(text)))


def is_command(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f" or character in "\u202a\u202e\u2066\u2069\u200f"


def test_ordinary_text_is_kept() -> None:
    """Any script, marks and signs pass through; a tab is some blanks."""
    assert clean("Zürich ☎ 交換 e\u0301 🙂 [x] \\ a\tb\nc") == "Zürich ☎ 交換 e\u0301 🙂 [x] \\ a    b\nc"
    assert one_line("  a\r\n b\tc ") == "a b c"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (2_753_164, "2.8 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes_have_a_fitting_unit(number: int, said: str) -> None:
    """Bytes are told in powers of 1,000 with one digit behind the point."""
    assert format_bytes(number) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (720, "12 min"),
        (5969, "99 min"),
        (6000, "1 h 40 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_times_are_as_exact_as_guesses(seconds: float, said: str) -> None:
    """Seconds, minutes or hours, without digits that nobody can know."""
    assert format_duration(seconds) == said


def test_nouns_follow_their_number() -> None:
    """One is singular, everything else plural."""
    assert [format_count(n, "record") for n in (0, 1, 2000)] == ["0 records", "1 record", "2,000 records"]
    assert [format_count(n, "retry", "retries") for n in (1, 2)] == ["1 retry", "2 retries"]


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (None, "s", None),
        (0, "", "0"),
        (1234, "s", "1,234 s"),
        (0.5, "s", "0.5 s"),
        (78.9, "%", "78.9%"),
        (2.0, "", "2"),
    ],
)
def test_figures_have_units_and_no_needless_digits(value: float | None, unit: str, said: str | None) -> None:
    """A number is told briefly, and nothing is told of what is not there."""
    assert format_number(value, unit) == said


def test_moments_are_told_to_the_second() -> None:
    """A time has its zone and no fraction."""
    assert format_time(datetime(2026, 1, 30, 18, 0, 0, 123456, UTC)) == "2026-01-30 18:00:00 UTC"
    assert format_time(None) is None


_ASK = """
source "$1"
shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
function=$(complete -p futureagi-async | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.quick(1)
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


@pytest.mark.quick(1)
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
