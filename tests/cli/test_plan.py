"""The plan command: what an export would cost, without writing anything."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from futureagi_async.cli import run
from futureagi_async.testing import StandInServer
from tests.support.commands import COLUMNS, environment, names_in, run_command, use_keys


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInServer]:
    """Run a stand-in that commands in this process read from."""
    with StandInServer() as running:
        use_keys(monkeypatch, running)
        yield running


@pytest.mark.slow
def test_the_demo_is_planned(tmp_path: Path) -> None:
    """A line a list and one for all fit 80 columns; nothing is written."""
    finished = run_command("plan", "--demo", "--transcripts", variables=environment(), folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0].split() == ["List", "Records", "Requests", "Transcripts", "Size"]
    assert [line.split()[0] for line in lines[2:9]] == ["run"] * 3 + ["agent"] * 3 + ["test"]
    assert lines[9].split()[0] == "All"
    assert lines[-1].startswith("An export would take about ")
    assert all(len(line) <= COLUMNS for line in lines)
    assert not finished.stderr
    assert not names_in(tmp_path)


def test_a_few_requests_make_a_plan(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get records, requests, bytes and seconds, over all and of each list."""
    run_test_id, (agent_id, version_id) = served.run_test_ids[0], served.agent_versions[0]
    lists = ["--run-test", run_test_id, "--agent-version", f"{agent_id}:{version_id}"]
    assert run(["plan", *lists, "--json", "--page-size", "20"]) == 0
    assert sum(int(request.query["limit"]) for request in served.requests) < 300
    plan = json.loads(capsys.readouterr().out)
    first, second = plan["sources"]
    assert first["run_test_id"] == run_test_id
    assert first["records"] >= len(served.run_test_rows(run_test_id))
    assert second["records"] == len(served.version_rows(agent_id, version_id))
    assert plan["records"] == first["records"] + second["records"]
    assert plan["requests"] > 2
    assert plan["known"]


def test_lists_that_do_not_answer(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Some list without an answer is told with its reason and exit code 3; with no answer at all it is 1."""
    unknown = ["--run-test", str(uuid4())]
    assert run(["plan", *unknown, "--run-test", served.run_test_ids[0]]) == 3
    out = " ".join(capsys.readouterr().out.split())
    assert f"run test {unknown[1][:8]} ? ? ?" in out
    assert f"run test {unknown[1][:8]} could not be read: Run test not found" in out
    assert run(["plan", *unknown]) == 1


def test_refused_keys_fail(
    served: StandInServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong key is one clear line and exit code 1."""
    monkeypatch.setenv("FI_API_KEY", "wrong-key-of-mine")
    assert run(["plan", "--run-test", served.run_test_ids[0]]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: Invalid API key or secret key")


def test_where_no_list_answers_no_time_is_guessed(
    served: StandInServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is told that an export of unknown lists would take 0 s."""
    assert run(["plan", "--run-test", str(uuid4())]) == 1
    out = capsys.readouterr().out
    assert "could not be read: Run test not found" in out
    assert "An export would take" not in out
