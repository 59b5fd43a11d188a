"""Commands that the tests fork are as those that a shell starts."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import PATIENCE_SECONDS, command, environment, run_command, run_in_shell, started
from tests.support.slow import slow


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["exprot"],
        *slow(
            ["call", "--demo"],
            ["export", "--demo", "--ordered", "-o", "-"],
            ["gate", "--demo", "--min", "score=100"],
        ),
    ],
)
def test_an_interpreter_of_its_own_makes_no_difference(tmp_path: Path, arguments: list[str]) -> None:
    """Exit code, stdout and stderr are the same, in a shell, too."""
    variables = environment(COLUMNS="100")
    forked = run_command(*arguments, variables=variables, folder=tmp_path)
    fresh = subprocess.run(
        command(*arguments),
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)
    shell = run_in_shell("run", *arguments, variables=variables, folder=tmp_path)
    assert (shell.returncode, shell.stdout, shell.stderr) == (
        fresh.returncode,
        fresh.stdout.encode(),
        fresh.stderr.encode(),
    )


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGABRT])
def test_one_that_is_killed_says_by_what(tmp_path: Path, signal_: signal.Signals) -> None:
    """A signal reaches the process that runs the command, and ends it."""
    with started("serve", variables=environment(), folder=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal_)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == -signal_


def test_one_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    """Nothing that hangs is left running."""
    with started("serve", variables=environment(), folder=tmp_path) as process:
        process.communicate(timeout=0.1)
    assert process.returncode == -signal.SIGKILL
