"""The commands `wait` and `watch` in processes of their own: exit codes, lines, JSON, the board."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from rich.cells import cell_len
from rich.console import Console

from futureagi_async import ExecutionState
from futureagi_async.cli.board import render_state
from futureagi_async.testing import Run, StandInServer
from tests.support.commands import (
    PATIENCE_SECONDS,
    environment,
    plain,
    run_command,
    run_on_terminal,
    started,
    wait_until,
)
from tests.support.slow import slow

QUICK = {"calls_at_once": 5, "call_seconds": 1, "evaluation_seconds": 1}
POLL = ("--poll", "0.05")


@pytest.fixture
def served() -> Iterator[StandInServer]:
    """Run a stand-in whose time is moved by requests alone, however long a process takes to start."""
    with StandInServer(demo=False, request_seconds=0.25) as running:
        yield running


def started_run(server: StandInServer, calls: int = 20, **options: Any) -> str:
    """Begin a test execution that takes some twenty requests."""
    execution_id = server.add_test_execution(calls, slim=True, name="Checkout flow")
    server.run_execution(execution_id, Run(**(QUICK | options)))
    return execution_id


@pytest.mark.quick(1)
@pytest.mark.parametrize("command", ["wait", "watch"])
@pytest.mark.parametrize(("ending", "code"), [("completed", 0), ("failed", 3), ("cancelled", 3)])
def test_the_exit_code_says_how_it_ended(
    served: StandInServer, tmp_path: Path, command: str, ending: str, code: int
) -> None:
    """A line at each change tells how far it is: `wait` on stderr, `watch` on the standard output."""
    execution_id = started_run(served, ending=ending)
    done = run_command(command, execution_id, *POLL, variables=environment(served), folder=tmp_path)
    assert done.returncode == code, done
    lines = (done.stderr if command == "wait" else done.stdout).splitlines()
    states = [line.partition("  ")[2] for line in lines]
    assert len(states) == len(set(states)) >= 3
    assert states[0].startswith("running: ")
    assert states[-1].startswith(f"{ending}: ")
    if command == "wait":
        assert done.stdout.startswith(f"Test execution {ending} after ")
        assert execution_id in done.stdout
    else:
        assert not done.stderr


@pytest.mark.quick(1)
@pytest.mark.parametrize("command", ["wait", "watch"])
def test_a_stalled_one_times_out(served: StandInServer, tmp_path: Path, command: str) -> None:
    """With 124, as `timeout` of the shell does, and what was seen last."""
    execution_id = started_run(served, ending="stalled", ending_after=0)
    done = run_command(
        command, execution_id, *POLL, "--timeout", "0.5", variables=environment(served), folder=tmp_path
    )
    assert done.returncode == 124
    assert "error: Test execution" in done.stderr
    assert "was not final after 0.5 s (timeout): running: 15 pending, 5 ongoing." in done.stderr
    assert "pending" in done.stdout


@pytest.mark.parametrize(
    ("is_final", "title"),
    [
        (True, "Test execution completed after 2 s"),
        (False, "Test execution is not final after 2 s (status: completed)"),
    ],
)
def test_a_completed_one_with_running_calls_is_not_final(is_final: bool, title: str) -> None:
    """The result does not say that it is completed and nothing else, since the exit code is 124."""
    state = ExecutionState(
        id="1", status="completed", counts={"ongoing": 3}, pending_evaluations=0, is_final=is_final, elapsed=2
    )
    console = Console(width=80)
    with console.capture() as shown:
        console.print(render_state(state))
    assert shown.get().splitlines()[0] == title


@pytest.mark.quick(1)
@pytest.mark.parametrize("command", ["wait", "watch"])
def test_one_that_disappears_fails(served: StandInServer, tmp_path: Path, command: str) -> None:
    """With 1, and the reason; so does one that was never there."""
    execution_id = started_run(served, ending="stalled", ending_after=0)
    variables = environment(served)
    with started(command, execution_id, *POLL, variables=variables, folder=tmp_path) as process:
        wait_until(lambda: len(served.requests) > 2)
        served.delete_execution(execution_id)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "was deleted during the wait" in err
    done = run_command(command, str(uuid4()), variables=variables, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: " in done.stderr


@pytest.mark.slow
def test_a_run_tests_last_execution_can_be_named(served: StandInServer, tmp_path: Path) -> None:
    """As for the other commands; an unknown name is an error."""
    started_run(served)
    variables = environment(served)
    done = run_command("wait", "latest:Checkout flow", *POLL, variables=variables, folder=tmp_path)
    assert done.returncode == 0
    done = run_command("wait", "latest:Nothing", variables=variables, folder=tmp_path)
    assert done.returncode == 1
    assert "Nothing" in done.stderr


@pytest.mark.slow
def test_the_last_state_is_json(served: StandInServer, tmp_path: Path) -> None:
    """One object from `wait`, also where the time was up; one a line from `watch`."""
    execution_id = started_run(served)
    variables = environment(served)
    watched = run_command("watch", execution_id, *POLL, "--json", variables=variables, folder=tmp_path)
    states = [json.loads(line) for line in watched.stdout.splitlines()]
    assert [state["is_final"] for state in states] == [False] * (len(states) - 1) + [True]
    assert len(states) >= 3
    waited = run_command("wait", execution_id, "-q", "--json", variables=variables, folder=tmp_path)
    state = json.loads(waited.stdout)
    assert not waited.stderr
    assert state.pop("elapsed") >= 0
    assert state == {
        "id": execution_id,
        "status": "completed",
        "counts": {"completed": 18, "failed": 2},
        "pending_evaluations": 0,
        "is_final": True,
    }
    assert states[-1].pop("elapsed") > 0
    assert states[-1] == state
    stalled = started_run(served, ending="stalled", ending_after=0)
    late = run_command("wait", stalled, "--json", "--timeout", "0", variables=variables, folder=tmp_path)
    assert late.returncode == 124
    assert json.loads(late.stdout)["counts"] == {"pending": 15, "ongoing": 5}


@pytest.mark.parametrize("columns", [80, *slow(40)])
def test_a_terminal_gets_a_board(served: StandInServer, tmp_path: Path, columns: int) -> None:
    """Calls by status with bars, and what is pending; what stays at the end is the last state."""
    execution_id = started_run(served, calls=30)
    code, output = run_on_terminal(
        "watch", execution_id, *POLL, variables=environment(served), folder=tmp_path, columns=columns
    )
    lines = plain(output).splitlines()
    assert code == 0
    assert max(map(cell_len, lines)) <= columns
    assert any(line.split()[:2] == ["ongoing", "5"] for line in lines)
    assert "━" in output
    last = "\n".join(lines[-6:])
    assert "Test execution completed after" in last
    assert "30 calls, no evaluation pending" in last
    assert "Looking" not in last


def test_ctrl_c_ends_it(served: StandInServer, tmp_path: Path) -> None:
    """With 130, and no traceback."""
    execution_id = started_run(served, ending="stalled", ending_after=0)
    variables = environment(served)
    with started("watch", execution_id, *POLL, variables=variables, folder=tmp_path) as process:
        wait_until(lambda: len(served.requests) > 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (130, "Interrupted.\n")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["wait", *slow("watch")])
def test_the_demo_runs_to_its_end(tmp_path: Path, command: str) -> None:
    """Without keys, and quickly enough to look at."""
    done = run_command(command, "--demo", "--timeout", "2", variables=environment(), folder=tmp_path)
    assert done.returncode == 124, done
    assert "running: " in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--timeout", "-1"], "--timeout"),
        (["--timeout", "soon"], "--timeout must be a number, not 'soon'."),
        (["--poll", "0"], "--poll"),
        (["--poll", "nan"], "--poll"),
        (["--max-outage", "-1"], "--max-outage"),
    ],
)
def test_wrong_arguments_are_usage_errors(
    served: StandInServer, tmp_path: Path, arguments: list[str], said: str
) -> None:
    """Before any request."""
    done = run_command("wait", str(uuid4()), *arguments, variables=environment(served), folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not served.requests
