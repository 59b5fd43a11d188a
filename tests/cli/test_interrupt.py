"""Ctrl-C: what was read is kept, the user is told, and the next run resumes it."""

import json
import signal
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from futureagi_async.testing import StandInServer
from tests.support.commands import (
    PATIENCE_SECONDS,
    Process,
    environment,
    names_in,
    plain,
    run_command,
    run_on_terminal,
    started,
    wait_until,
)

SAID = "Interrupted: 20 records are kept: run the same command again to continue.\n"


@pytest.fixture
def stalled() -> Iterator[StandInServer]:
    """Run a stand-in that answers one request and leaves all others waiting."""
    with StandInServer() as running:
        running.stall(after=1, times=1000)
        yield running


def export_arguments(server: StandInServer) -> list[str]:
    return ["export", "--run-test", server.run_test_ids[0], "--page-size", "20", "-o", "calls.jsonl"]


def first_page_kept(server: StandInServer, folder: Path) -> Callable[[], bool]:
    """Return whether the first page is on the disk, since a while, and the others are being waited for."""
    looks = count()
    return lambda: (
        server.in_flight > 0
        and any(b'"id"' in path.read_bytes() for path in folder.glob(".calls.jsonl.export/part-*"))
        and next(looks) > 10
    )


@pytest.mark.quick(1)
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_can_be_gone_on_with(
    stalled: StandInServer, tmp_path: Path, signal_: signal.Signals
) -> None:
    """An older export is kept, the message true, the exit code 130; the same command then does the rest."""
    (tmp_path / "calls.jsonl").write_text("before")
    arguments, variables = [*export_arguments(stalled), "--force"], environment(stalled)
    with started(*arguments, variables=variables, folder=tmp_path) as process:
        wait_until(first_page_kept(stalled, tmp_path))
        process.send_signal(signal_)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert not out
    assert err == "Reading 1 list of calls.\n" + SAID
    assert names_in(tmp_path) == {"calls.jsonl", ".calls.jsonl.export"}
    assert (tmp_path / "calls.jsonl").read_text() == "before"
    stalled.clear_faults()
    finished = run_command(*arguments, variables=variables, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "The export continued after 1 interruption." in finished.stderr
    ids = [json.loads(line)["id"] for line in (tmp_path / "calls.jsonl").read_bytes().splitlines()]
    assert sorted(ids) == sorted(stalled.run_test_rows(stalled.run_test_ids[0]))
    assert names_in(tmp_path) == {"calls.jsonl"}


def test_a_failed_export_can_be_gone_on_with(tmp_path: Path) -> None:
    """Where keys are refused in the middle, the error says that what was read is kept."""
    with StandInServer() as server:
        server.fail(status=401, after=1, times=100)
        arguments = [*export_arguments(server), "--quiet", "--max-in-flight", "1"]
        failed = run_command(*arguments, variables=environment(server), folder=tmp_path)
        assert failed.returncode == 1
        assert failed.stderr.startswith("error: ")
        assert failed.stderr.endswith("20 records are kept: run the same command again to continue.\n")
        assert failed.stderr.count("\n") == 1
        server.clear_faults()
        assert run_command(*arguments, variables=environment(server), folder=tmp_path).returncode == 0
        assert len((tmp_path / "calls.jsonl").read_bytes().splitlines()) == len(
            server.run_test_rows(server.run_test_ids[0])
        )


def test_an_interrupted_terminal_is_tidy(stalled: StandInServer, tmp_path: Path) -> None:
    """The bars are gone, the cursor is back, and the message stands alone."""
    code, output = run_on_terminal(
        *export_arguments(stalled),
        variables=environment(stalled),
        folder=tmp_path,
        interrupt_when=first_page_kept(stalled, tmp_path),
    )
    assert code == 130
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
    assert plain(output).endswith(SAID)
    assert not (tmp_path / "calls.jsonl").exists()


def test_interrupting_the_demo_ends_its_server_too(tmp_path: Path) -> None:
    """The stand-in of --demo runs in the same process, and does not keep it alive."""
    arguments = ("export", "--demo", "--max-requests-per-minute", "1", "-o", "calls.jsonl")
    with started(*arguments, variables=environment(), folder=tmp_path) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "Reading 7 lists of calls.\n"
        wait_until(lambda: names_in(tmp_path))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert err.startswith("Interrupted: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "calls.jsonl").exists()


def test_interrupting_a_view_says_so(tmp_path: Path) -> None:
    """Commands that write no file end with the same code and a word."""
    with StandInServer() as server:
        server.stall(times=10)
        call_id = server.call_execution_ids()[0]
        with started("call", call_id, variables=environment(server), folder=tmp_path) as process:
            wait_until(lambda: server.in_flight)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out, err) == (130, "", "Interrupted.\n")


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_serve_runs_until_it_is_stopped(tmp_path: Path, signal_: signal.Signals) -> None:
    """The stand-in answers at the address it printed, with the keys it printed, until Ctrl-C: exit code 0."""
    with started("serve", variables=environment(), folder=tmp_path) as process:
        settings, ids = _introduced(process)
        path = f"/simulate/run-tests/{ids['--run-test']}/call-executions/?limit=1"
        request = urllib.request.Request(settings["FI_BASE_URL"] + path)
        request.add_header("X-Api-Key", settings["FI_API_KEY"])
        request.add_header("X-Secret-Key", settings["FI_SECRET_KEY"])
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
            assert reply.status == 200
        process.send_signal(signal_)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (0, "Stopped.\n")
    assert ids.keys() == {"--run-test", "--agent-version", "--test-execution", "call"}


def _introduced(process: Process) -> tuple[dict[str, str], dict[str, str]]:
    """Return the settings and an id of each kind that the stand-in printed."""
    assert process.stdout is not None
    settings, ids = {}, {}
    while (line := process.stdout.readline().strip()) != "# Press Ctrl-C to stop.":
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            settings[name] = value
        else:
            _, kind, id_ = line.split()
            ids[kind] = id_
    return settings, ids
