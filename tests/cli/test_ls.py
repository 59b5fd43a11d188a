"""The command that lists what there is; names where ids do; everything at once."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from futureagi_async.cli import run
from futureagi_async.testing import StandInServer
from tests.support.commands import (
    environment,
    forget_keys,
    ids_in,
    plain,
    run_command,
    run_on_terminal,
    use_keys,
)


@pytest.fixture
def used(server: StandInServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInServer]:
    """Let commands in this process read from a stand-in, once in each dialect."""
    use_keys(monkeypatch, server)
    return server


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert not err
    assert all(cell_len(line) <= 80 for line in out.split("\n"))
    return out


def failed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int) -> str:
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    return err


def first_column(out: str) -> list[str]:
    return [line[:36] for line in out.splitlines() if line[:36].count("-") == 4]


def test_an_overview(used: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Run tests and agents with whole ids, no secrets, and of many the newest ten."""
    out = shown(capsys, "ls")
    runs = list(reversed(used.run_test_ids))
    assert first_column(out)[:3] == runs
    assert "Support bot" in out
    assert "Refund chats" in out
    assert used.canary not in out
    for number in range(9):
        used.add_run_test(1, slim=True, name=f"Night {number}")
    out = shown(capsys, "ls")
    assert len(first_column(out)) == 20
    assert "2 more: futureagi-async ls run-tests" in out
    assert len(first_column(shown(capsys, "ls", "--limit", "3"))) == 6


def test_each_list(used: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """All of it, by name or by id."""
    checkout, agent = used.run_test_ids[0], used.agent_versions[0][0]
    assert first_column(shown(capsys, "ls", "run-tests")) == list(reversed(used.run_test_ids))
    assert first_column(shown(capsys, "ls", "run-tests", "--search", "CHECKOUT")) == [checkout]
    for run_test in ("Checkout flow", checkout):
        assert first_column(shown(capsys, "ls", "executions", run_test)) == [used.test_execution_ids[0]]
    assert "There are no executions." in shown(
        capsys, "ls", "executions", checkout, "--search", "nothing like it"
    )
    assert len(first_column(shown(capsys, "ls", "agents"))) == 3
    for name in ("Checkout assistant", agent):
        out = shown(capsys, "ls", "versions", name)
        assert set(first_column(out)) == {version for owner, version in used.agent_versions if owner == agent}
        assert "v2, latest" in out


def test_json_lines(used: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with the fields of the values, their kind, and no secret."""
    lines = [json.loads(line) for line in shown_lines(capsys, "ls", "--json")]
    assert [line["kind"] for line in lines] == ["run_test"] * 3 + ["agent"] * 3
    assert lines[0]["id"] == used.run_test_ids[-1]
    assert set(lines[0]) >= {"name", "agent_definition_id", "last_run_at", "created_at"}
    assert used.canary not in json.dumps(lines)
    (execution,) = shown_lines(capsys, "ls", "executions", "Checkout flow", "--json")
    assert json.loads(execution)["run_test_id"] == used.run_test_ids[0]
    assert len(shown_lines(capsys, "ls", "versions", "Checkout assistant", "--json", "--limit", "1")) == 1


def shown_lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert run(arguments) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.slow
def test_ls_needs_no_keys_with_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stand-in has lists to show."""
    forget_keys(monkeypatch)
    monkeypatch.setenv("COLUMNS", "80")
    assert len(first_column(shown(capsys, "ls", "executions", "Refund chats", "--demo"))) == 1


@pytest.mark.parametrize("columns", [None, "80"])
def test_other_programs_get_a_line_per_item(
    served: StandInServer, tmp_path: Path, columns: str | None
) -> None:
    """Long names are not wrapped, unless COLUMNS is set. The output does not begin with an empty line."""
    name = " ".join(["A name of many words"] * 6)
    run_test_id = served.add_run_test(1, slim=True, name=name)
    variables = environment(served) | ({} if columns is None else {"COLUMNS": columns})
    done = run_command("ls", variables=variables, folder=tmp_path)
    first, *others = done.stdout.splitlines()
    assert (done.returncode, first) == (0, "Run tests")
    (line,) = (line for line in others if line.startswith(run_test_id))
    assert (name in line) is (columns is None)
    assert max(map(len, others)) <= 250


def test_ids_are_whole_on_a_narrow_terminal(served: StandInServer, tmp_path: Path) -> None:
    """Names are folded, ids never cut."""
    served.add_run_test(1, slim=True, name="A name of many words " * 6)
    code, output = run_on_terminal("ls", "run-tests", variables=environment(served), folder=tmp_path)
    assert code == 0
    assert len(first_column(plain(output))) == 4
    assert " ".join(plain(output).split()).count("words") == 6


WRONG = {
    "a list": (["calls"], "run-tests"),
    "of what": (["executions"], "ls executions needs the run test"),
    "of whom": (["versions"], "ls versions needs the agent"),
    "too much": (["agents", "Support bot"], "ls agents takes no other argument"),
    "a search": (["versions", "Support bot", "--search", "x"], "the server has no search for versions"),
    "nothing": (["--limit", "0"], "--limit"),
    "no id": (
        ["executions", "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4be"],
        "error: ls executions: run_test must be a UUID",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(used: StandInServer, capsys: pytest.CaptureFixture[str], case: str) -> None:
    """They are refused before any request."""
    arguments, said = WRONG[case]
    assert said in failed(capsys, "ls", *arguments, code=2)
    assert not used.requests


def test_names_that_are_not_unique(used: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The error has the ids to choose from."""
    again = used.add_run_test(1, slim=True, name="Checkout flow")
    error = failed(capsys, "plan", "--run-test", "Checkout flow", code=1)
    assert f"{again} (Checkout flow), {used.run_test_ids[0]} (Checkout flow)" in error


def test_names_in_exports(used: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names give what ids give, on the command line and in a file of sets."""
    agent, version = used.agent_versions[0]
    rows = {
        *used.run_test_rows(used.run_test_ids[1]),
        *used.version_rows(agent, version),
        *used.test_execution_rows(used.test_execution_ids[0]),
    }
    named = ["--run-test", "Refund chats", "--test-execution", "latest:Checkout flow"]
    named += ["--agent-version", "Checkout assistant:v1"]
    file = tmp_path / "sources.toml"
    file.write_text(
        '[some]\nrun_tests = ["Refund chats"]\nagent_versions = ["Checkout assistant:v1"]\n'
        'test_executions = ["latest:Checkout flow"]\n'
    )
    for number, sources in enumerate((named, ["--sources", str(file)])):
        target = tmp_path / f"{number}.jsonl"
        assert run(["export", *sources, "-o", str(target), "--quiet"]) == 0
        assert set(ids_in(target)) == rows
    assert not capsys.readouterr().out


def test_the_last_execution_of_a_run_test(used: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`execution` and `kpis` take ``latest:RUN``."""
    execution = used.test_execution_ids[0]
    assert shown(capsys, "execution", "latest:Checkout flow").startswith("Test execution completed\n")
    assert used.requests[-1].path == f"/simulate/test-executions/{execution}/"
    assert shown(capsys, "kpis", f"latest:{used.run_test_ids[0]}") == shown(capsys, "kpis", execution)
    assert "No run test is named 'x'" in failed(capsys, "kpis", "latest:x", code=1)


def test_everything_every_night(used: StandInServer, tmp_path: Path) -> None:
    """A run test that is created between two nights is in the second export; so is its agent's version."""
    file = tmp_path / "sources.toml"
    file.write_text("[everything]\nall = true\n")
    command = ["export", "--quiet", "-o"]
    assert run([*command, str(tmp_path / "first.jsonl"), "--all"]) == 0
    fresh = used.add_run_test(7, name="Fresh")
    assert run([*command, str(tmp_path / "second.jsonl"), "--all"]) == 0
    assert run([*command, str(tmp_path / "third.jsonl"), "--sources", str(file)]) == 0
    first, second, third = (ids_in(tmp_path / f"{name}.jsonl") for name in ("first", "second", "third"))
    everything = {row for run_test in used.run_test_ids for row in used.run_test_rows(run_test)}
    assert everything <= set(first)
    assert set(second) - set(first) == set(used.run_test_rows(fresh))
    assert sorted(second) == sorted(third)


def test_everything_of_a_kind_and_of_late(
    used: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--all run-tests`` leaves agent versions out; ``--since`` what did not run later."""
    assert run(["plan", "--all", "run-tests", "--json"]) == 0
    kinds = [source["kind"] for source in json.loads(capsys.readouterr().out)["sources"]]
    assert kinds == ["run_test"] * 3
    assert run(["plan", "--all", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["sources"]) == 7
    error = failed(capsys, "plan", "--all", "--since", "9999-01-01", code=1)
    assert "There is nothing to read" in error
