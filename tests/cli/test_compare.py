"""The command compare: tables, JSON, exit codes in processes, and any width of a terminal."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from rich.cells import cell_len

from futureagi_async.cli import run
from futureagi_async.testing import StandInServer
from tests.support.commands import environment, plain, run_command, run_on_terminal, use_keys


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInServer]:
    """Run a stand-in that commands read from."""
    with StandInServer() as running:
        use_keys(monkeypatch, running)
        yield running


def versions(server: StandInServer) -> list[str]:
    """Return the two voice versions, as they are named on a command line."""
    return [":".join(pair) for pair in server.agent_versions[:2]]


def test_two_versions(served: StandInServer, tmp_path: Path) -> None:
    """Both values, n, difference and interval of each figure; what is beyond chance has a star."""
    done = run_command(
        "compare", *versions(served), variables=environment(served, COLUMNS="140"), folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("A  ")
    assert lines[0].endswith(": 79 calls, complete")
    (starred,) = [line for line in lines if line.startswith("* ")]
    words = ["* Politeness, mean", "0.5605", "79", "0.297", "27", "-0.2635", "-0.4137 to -0.11", "████│"]
    places = [starred.index(word) for word in words]
    assert places == sorted(places)
    assert "Calls of B to look at first" in done.stdout
    assert "overall score, median" not in done.stdout
    assert not done.stderr


@pytest.mark.slow
def test_several_are_compared_with_the_first(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids of run tests and executions, versions and exports can be mixed; each is held against A."""
    folder = tmp_path / "out"
    assert run(["export", "--run-test", served.run_test_ids[0], "-o", str(folder), "-q"]) == 0
    subjects = [str(folder), served.run_test_ids[0], served.test_execution_ids[0], versions(served)[0]]
    capsys.readouterr()
    assert run(["compare", *subjects, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["comparisons"]
    assert len(found) == 3
    assert {each["before"]["label"] for each in found} == {"out"}
    assert all(each["difference"] == 0 for each in found[0]["differences"])
    assert found[0]["scenarios"]
    assert run(["compare", *subjects[:2], "--all-figures"]) == 0
    printed = capsys.readouterr().out
    assert "B against A" in printed
    assert "overall score, median" in printed
    assert "Scenario Lost parcel" in printed
    assert "No scenario has a significant change." in printed


@pytest.mark.slow
def test_a_demo_needs_nothing(tmp_path: Path) -> None:
    """Without keys and names, samples are compared."""
    done = run_command("compare", "--demo", variables=environment(), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "B against A" in done.stdout


@pytest.mark.slow
def test_what_is_incomplete_is_told(served: StandInServer, tmp_path: Path) -> None:
    """The figures are shown with what is missing, and the exit code is 3."""
    run_test = served.run_test_ids[2]
    served.poison(served.run_test_rows(run_test)[3])
    arguments = ("compare", served.run_test_ids[1], run_test)
    done = run_command(*arguments, variables=environment(served), folder=tmp_path)
    assert done.returncode == 3
    assert ", incomplete" in done.stdout
    assert "incomplete: run test" in done.stdout


@pytest.mark.parametrize(
    ("subjects", "code", "reason"),
    [
        ([], 2, "Name at least two runs to compare."),
        (["one"], 2, "Name at least two runs to compare."),
        (["a", ""], 2, "B must be an id, the name of a run test"),
        (["a", "nowhere/"], 2, "B: nowhere/ has no finished export"),
        ([str(uuid4()), str(uuid4())], 1, "error: "),
        (["no such run", "nor this"], 1, "no such run"),
        (["a"] * 27, 2, "compare takes 26 runs at most, not"),
    ],
)
def test_wrong_arguments(
    served: StandInServer, capsys: pytest.CaptureFixture[str], subjects: list[str], code: int, reason: str
) -> None:
    """What can't be compared is one clear error."""
    assert run(["compare", *subjects]) == code
    out, err = capsys.readouterr()
    assert reason in err
    assert not out


@pytest.mark.quick(1)
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_figure_is_cut(served: StandInServer, tmp_path: Path, columns: int) -> None:
    """Values, intervals and ids are whole at any width, and no line is longer."""
    code, output = run_on_terminal(
        "compare", *versions(served), variables=environment(served), folder=tmp_path, columns=columns
    )
    shown = plain(output)
    assert code == 0
    assert "…" not in shown
    assert max(map(cell_len, shown.split("\n"))) <= columns
    for figure in ("4.281", "4.596", "-0.6616 to +1.304", "48455b21-bb1f-5b15-804f-d2a1d8bb050c"):
        assert figure in shown


@pytest.mark.slow
def test_names_can_not_command_a_terminal(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """What models and people called things is shown as text."""
    run_test = served.run_test_ids[2]
    for call in served.run_test_rows(run_test):
        try:
            served.alter_call(call, {"scenario": "[red]x[/red]\x1b[2J\u202e"})
        except ValueError:  # a snapshot's id
            continue
    assert run(["compare", run_test, run_test, "--all-figures"]) == 0
    shown = capsys.readouterr().out
    assert "[red]x[/red]" in shown
    assert not {"\x1b", "\u202e"} & set(shown)


def test_long_lists_of_what_is_alone_are_cut(
    served: StandInServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of many scenarios and evaluations that only one has, some are named, and how many more there are."""
    run_test = served.run_test_ids[2]
    for number, call in enumerate(served.run_test_rows(run_test)):
        try:
            served.alter_call(call, {"scenario": f"Scenario {number}", "scenario_id": str(uuid4())})
        except ValueError:  # a snapshot's id
            continue
    assert run(["compare", served.run_test_ids[1], run_test]) == 0
    shown = capsys.readouterr().out
    assert shown.count("is only in the") == 8
    assert "more could not be compared. --json shows them." in shown


@pytest.mark.slow
def test_terminals_without_blocks_get_other_signs(served: StandInServer, tmp_path: Path) -> None:
    """Where blocks can't be written, bars are made of signs that can."""
    variables = environment(served, PYTHONIOENCODING="ascii", LC_ALL="C", COLUMNS="140")
    done = run_command("compare", *versions(served), variables=variables, folder=tmp_path)
    assert "####|" in done.stdout
    assert "█" not in done.stdout
    assert "│" not in done.stdout
