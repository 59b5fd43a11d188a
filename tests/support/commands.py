"""How the tests of the command line run it: as a process of its own, on pipes or on a terminal."""

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from futureagi_async.testing import StandInServer
from tests.support import forking

ROWS, COLUMNS = 24, 80
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[[0-9;]*(?<![0-9])(?:3[0-9]|4[0-9]|9[0-7])[0-9;]*m")
PATIENCE_SECONDS = 20.0

Process = subprocess.Popen[str] | forking.Command

# A shell may start tests with signals ignored (nohup, a job in the background), which a child would inherit.
_START = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
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
    """Return the command line of a command in an interpreter that knows nothing of the tests."""
    return [sys.executable, "-c", _START, *map(str, arguments)]


def _needs_interpreter(variables: Mapping[str, str]) -> bool:
    """Whether there are variables that only an interpreter's start obeys."""
    return any(
        name.startswith(("PYTHON", "LC_")) and (name, value) != ("PYTHONWARNINGS", "error")
        for name, value in variables.items()
    )


def run_command(
    *arguments: str | Path, variables: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, on pipes."""
    with started(*arguments, variables=variables, folder=folder) as process:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode is not None
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def run_in_shell(
    line: str, *arguments: str | Path, variables: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which ``run`` is the command, on pipes."""
    words = command() if _needs_interpreter(variables) else forking.command_line()
    run = f'run() {{ {shlex.join([*words, *map(str, arguments)])} "$@"; }}'
    return subprocess.run(
        ["bash", "-c", f"{run}\n{line}"],
        env=dict(variables),
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


@contextmanager
def started(*arguments: str | Path, variables: Mapping[str, str], folder: Path) -> Iterator[Process]:
    """Start a command on pipes; it is killed if it has not ended with the block."""
    with _start(arguments, variables, folder) as process:
        try:
            yield process
        finally:
            process.kill()


def _start(arguments: Sequence[str | Path], variables: Mapping[str, str], folder: Path) -> Process:
    if not _needs_interpreter(variables):
        return forking.Command.on_pipes([*map(str, arguments)], variables, folder)
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command(*arguments), env=variables, cwd=folder, stdout=pipe, stderr=pipe, text=True
    )


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
    variables = {"TERM": "xterm-256color", **variables}
    process: subprocess.Popen[bytes] | forking.Command
    if _needs_interpreter(variables):
        process = subprocess.Popen(
            command(*arguments), env=variables, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
        )
    else:
        process = forking.Command([*map(str, arguments)], variables, folder, (theirs, theirs, theirs))
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
