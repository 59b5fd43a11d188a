"""Words and figures for people."""

import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
from futureagi_async.testing import StandInServer


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


ROWS, COLUMNS = 24, 80
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[[0-9;]*(?<![0-9])(?:3[0-9]|4[0-9]|9[0-7])[0-9;]*m")
PATIENCE_SECONDS = 20.0

# A shell may start tests with SIGINT ignored, which a child would inherit.
_START = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from futureagi_async.__main__ import main; sys.exit(main())"
)


def environment(server: StandInServer | None = None, **more: str) -> dict[str, str]:
    """Return the variables of a command that reads from ``server``, and no keys of whoever runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    if server is not None:
        kept |= {
            "FI_BASE_URL": server.base_url,
            "FI_API_KEY": server.api_key,
            "FI_SECRET_KEY": server.secret_key,
        }
    return kept | {"PYTHONWARNINGS": "error"} | more


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", _START, *map(str, arguments)]


def run_command(
    *arguments: str | Path, variables: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, on pipes."""
    return subprocess.run(
        command(*arguments),
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def run_in_shell(
    line: str, *arguments: str | Path, variables: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which ``run`` is the command, on pipes."""
    run = f'run() {{ {shlex.join(command(*arguments))} "$@"; }}'
    return subprocess.run(
        ["bash", "-c", f"{run}\n{line}"],
        env=dict(variables),
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


@contextmanager
def started(
    *arguments: str | Path, variables: Mapping[str, str], folder: Path
) -> Iterator[subprocess.Popen[str]]:
    """Start a command on pipes; it is killed if it has not ended with the block."""
    with subprocess.Popen(
        command(*arguments),
        env=variables,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_on_terminal(
    *arguments: str | Path,
    variables: Mapping[str, str],
    folder: Path,
    columns: int = COLUMNS,
    interrupt_when: Callable[[], bool] | None = None,
) -> tuple[int, str]:
    """Run a command on a terminal of 24 lines; return its exit code and all that the terminal got.

    Ctrl-C is pressed, as the terminal does it, once ``interrupt_when`` says so.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    process = subprocess.Popen(
        command(*arguments),
        env={"TERM": "xterm-256color", **variables},
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        if interrupt_when is not None:
            wait_until(interrupt_when)
            process.send_signal(signal.SIGINT)
        output = _read_all(ours)
        return process.wait(PATIENCE_SECONDS), output
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read_all(terminal: int) -> str:
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that nobody holds the other end any more
            piece = b""
        if not piece:
            return b"".join(pieces).decode()
        pieces.append(piece)


def plain(output: str) -> str:
    """Return what a terminal got without colours; each way back to the left is a new line."""
    return ESCAPES.sub("", output).replace("\r\n", "\n").replace("\r", "\n")


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what another thread or process brings about, and can't announce."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at, "it never came true"
        time.sleep(0.01)


def ids_in(path: Path) -> list[str]:
    """Return the ids in a file of JSON Lines."""
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def use_keys(monkeypatch: pytest.MonkeyPatch, server: StandInServer) -> None:
    """Let commands run in this process read from ``server``."""
    monkeypatch.setenv("FI_BASE_URL", server.base_url)
    monkeypatch.setenv("FI_API_KEY", server.api_key)
    monkeypatch.setenv("FI_SECRET_KEY", server.secret_key)
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("NO_PROXY", "*")  # whatever proxy the machine has


def forget_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands run in this process find no settings."""
    for name in ("FI_BASE_URL", "FI_API_KEY", "FI_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)


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
