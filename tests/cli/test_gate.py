"""The command gate: exit codes in processes of its own, what it prints and writes, and what is refused."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from futureagi_async import ExecutionState
from futureagi_async.cli import run
from futureagi_async.testing import Run, StandInServer
from tests.support.commands import environment, plain, run_command, run_on_terminal, use_keys

HOLDS = ("--min", "overall_score.mean=4")
BREAKS = ("--max", "status.failed=0")
HOSTILE = '"><script>alert(1)</script> [x](http://evil) | `code` *b* \x1b[2J \u202e ]]> & @team'


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInServer]:
    """Run a stand-in that commands read from, here and in processes of their own."""
    with StandInServer() as running:
        use_keys(monkeypatch, running)
        monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        yield running


def poisoned(server: StandInServer) -> str:
    """Return a run test of which a page can't be read."""
    run_test = server.run_test_ids[2]
    server.poison(server.run_test_rows(run_test)[3])
    return run_test


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (0, HOLDS),
        (4, (*HOLDS, *BREAKS)),
        (4, ("--min", "eval.politness.mean=0")),
        (4, (*HOLDS, "--min-calls", "10000")),
        (2, ()),
        (2, ("--min", "overall_score.mean=high")),
        (2, ("--max-drop", "overall_score.mean=1")),
    ],
)
def test_exit_codes(served: StandInServer, tmp_path: Path, code: int, arguments: tuple[str, ...]) -> None:
    """A process ends with 0 where all rules hold, 4 where some don't, 2 where there are none."""
    execution = served.test_execution_ids[0]
    done = run_command("gate", execution, *arguments, variables=environment(served), folder=tmp_path)
    assert done.returncode == code, done.stderr
    assert ("error: " in done.stderr) == (code == 2)
    assert ("Passed: no rule is broken." in done.stdout) == (code == 0)
    assert ("Not passed: 1 of" in done.stdout) == (code == 4)


@pytest.mark.slow
def test_what_is_incomplete_ends_with_3(served: StandInServer, tmp_path: Path) -> None:
    """A page that can't be read: no rule is broken by what is there, and it does not pass."""
    arguments = ("gate", poisoned(served), "--min", "calls=1")
    done = run_command(*arguments, variables=environment(served), folder=tmp_path)
    assert done.returncode == 3
    assert "Not passed, because something is missing" in done.stdout
    assert "incomplete: run test" in done.stdout


def test_what_does_not_exist_ends_with_1(served: StandInServer, tmp_path: Path) -> None:
    """An id that nothing has is an error."""
    done = run_command("gate", str(uuid4()), *HOLDS, variables=environment(served), folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert not done.stdout


@pytest.mark.slow
def test_waiting_for_the_execution(served: StandInServer, tmp_path: Path) -> None:
    """With --wait the figures are those of the end."""
    execution = served.test_execution_ids[2]
    served.run_execution(execution, Run(calls_at_once=50, call_seconds=0.2, evaluation_seconds=0.2))
    arguments = ("gate", execution, "--wait", "--timeout", "30", "--max", "status.pending=0", "--json")
    done = run_command(*arguments, variables=environment(served), folder=tmp_path)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert json.loads(done.stdout)["results"][0]["value"] == 0


def test_an_execution_that_does_not_end_is_an_error(
    served: StandInServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the time is up nothing is checked: exit code 1, and the last state."""
    execution = served.test_execution_ids[2]
    served.run_execution(execution, Run(calls_at_once=1, call_seconds=1_000.0))
    assert run(["gate", execution, "--wait", "--timeout", "0", *HOLDS]) == 1
    out, err = capsys.readouterr()
    assert "error: " in err
    assert not out


def test_an_execution_that_failed_never_passes(
    served: StandInServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ended in another way than completed is incomplete, whatever its calls say."""
    execution = served.test_execution_ids[2]
    state = ExecutionState(
        id=execution, status="failed", counts={}, pending_evaluations=0, is_final=True, elapsed=1.0
    )
    gate = importlib.import_module("futureagi_async.cli.gate")  # the package's name is the command
    monkeypatch.setattr(gate, "_wait", lambda *_: state)
    assert run(["gate", execution, "--wait", "--min", "calls=1"]) == 3
    assert "The test execution ended with status failed" in capsys.readouterr().out


def test_sources_of_all_kinds(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id of either kind, a version, an export's directory, and options that name lists."""
    run_test, pair = served.run_test_ids[2], ":".join(served.agent_versions[0])
    folder = tmp_path / "out"
    assert run(["export", "--run-test", run_test, "-o", str(folder), "-q"]) == 0
    given = [[run_test], [pair], [str(folder)], ["--run-test", run_test], [served.test_execution_ids[0]]]
    capsys.readouterr()
    calls = []
    for arguments in given:
        assert run(["gate", *arguments, "--min", "calls=1", "--json"]) == 0
        calls.append(json.loads(capsys.readouterr().out)["calls"])
    assert calls[0] == calls[2] == calls[3]
    assert len(set(calls)) == 3


def test_names_of_runs(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A run test's name, and its latest execution; a name that nothing has is told with candidates."""
    served.add_run_test(30, name="Refund flow", executions=(20, 10), slim=True)
    for name, calls in (("Refund flow", 30), ("latest:Refund flow", 10)):
        assert run(["gate", name, "--min", "calls=1", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["calls"] == calls
    assert run(["gate", "Refnd flow", "--min", "calls=1"]) == 1
    assert "Refund flow" in capsys.readouterr().err


def test_a_baseline_and_chance(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A drop breaks a rule; with --significant only what chance does not explain."""
    first, second = (":".join(pair) for pair in served.agent_versions[:2])
    rules = ["--max-drop", "eval.goal_reached.pass_rate=0", "--max-drop", "eval.politeness.mean=0.1"]
    assert run(["gate", second, "--baseline", first, *rules]) == 4
    assert "eval.politeness.mean >= baseline - 0.1: It is 0.297037" in capsys.readouterr().out
    rises = ["--max-rise", "eval.goal_reached.pass_rate=0"]
    assert run(["gate", second, "--baseline", first, *rises]) == 4
    capsys.readouterr()
    assert run(["gate", second, "--baseline", first, *rises, "--significant", "--json"]) == 0
    assert "not statistically significant" in json.loads(capsys.readouterr().out)["results"][0]["reason"]


def test_rules_of_a_file(served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file's rules and min_calls count; an option goes before what the file says."""
    path = tmp_path / "gate.toml"
    path.write_text('rules = ["overall_score.mean >= 4"]\nmin_calls = 10000\n')
    arguments = ["gate", served.test_execution_ids[0], "--rules", str(path)]
    assert run(arguments) == 4
    assert run([*arguments, "--min-calls", "1"]) == 0
    path.write_text("rules = 5")
    assert run(arguments) == 2
    assert run([*arguments[:2], "--rules", str(tmp_path / "nowhere")]) == 2
    assert "--rules: can't read" in capsys.readouterr().err


def hostile(server: StandInServer) -> str:
    """Give an evaluation of a small run test a name that would do harm; return the run test."""
    run_test = server.run_test_ids[2]
    for call in server.run_test_rows(run_test):
        result = {
            "name": HOSTILE,
            "value": ["a|b"],
            "type": "choices",
            "status": "Completed",
            "reason": HOSTILE,
        }
        try:
            server.alter_call(call, {"eval_outputs": {str(uuid4()): result}})
        except ValueError:  # a snapshot's id
            continue
    return run_test


def test_files_for_people_and_servers(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markdown, also added to the summary of a job in GitHub Actions, and JUnit XML."""
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = ["--markdown", str(tmp_path / "gate.md"), "--junit", str(tmp_path / "gate.xml")]
    assert run(["gate", served.test_execution_ids[0], *HOLDS, *BREAKS, *files]) == 4
    markdown = (tmp_path / "gate.md").read_text()
    assert summary.read_text() == "before\n" + markdown
    assert markdown.startswith("### Not passed: 1 of 2 rules broken.\n")
    assert "| overall_score.mean &#62;= 4 | " in markdown
    assert "| **broken**: It is 12; &#60;= 0 is required. |" in markdown
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert suite.attrib | {"name": ""} == {"name": "", "tests": "3", "failures": "1", "errors": "0"}
    assert [case.get("name") for case in suite] == [
        "complete",
        "overall_score.mean >= 4",
        "status.failed <= 0",
    ]
    assert suite[2].find("failure") is not None


@pytest.mark.slow
def test_incomplete_data_are_an_error_in_junit(served: StandInServer, tmp_path: Path) -> None:
    """The test that everything is there fails, with the reason."""
    path = tmp_path / "gate.xml"
    assert run(["gate", poisoned(served), "--min", "calls=1", "--junit", str(path)]) == 3
    suite = ElementTree.parse(path).getroot()
    assert suite.get("errors") == "1"
    error = suite[0].find("error")
    assert error is not None
    assert error.text
    assert "run test" in error.text


def test_what_models_wrote_is_harmless(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names with tags, marks, escapes and directions come out as text, wherever they are written."""
    run_test = hostile(served)
    files = ["--markdown", str(tmp_path / "gate.md"), "--junit", str(tmp_path / "gate.xml")]
    rules = ["--min", f"eval.{HOSTILE}.pass_rate=1", "--min", "eval.script_alert_1_script.mean=0"]
    assert run(["gate", run_test, *rules, *files]) == 4
    printed = capsys.readouterr().out
    markdown = (tmp_path / "gate.md").read_text()
    for text in (printed, markdown, (tmp_path / "gate.xml").read_text()):
        assert not {"\x1b", "\u202e"} & set(text)
    for sign in ("<", "[x]", "`", "*b*", "@team", "http://"):
        assert sign not in markdown.replace("**broken**", "")
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in rows} == {6}
    names = [case.get("name") or "" for case in ElementTree.parse(tmp_path / "gate.xml").getroot()]
    assert any("<script>alert(1)</script>" in name for name in names)


@pytest.mark.quick(1)
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_narrow_terminals_cut_no_figure(served: StandInServer, tmp_path: Path, columns: int) -> None:
    """Each figure, its n and the verdict are whole at any width."""
    arguments = ("gate", served.test_execution_ids[0], *HOLDS, "--min", "eval.goal_reached.pass_rate=0.9")
    code, output = run_on_terminal(
        *arguments, variables=environment(served), folder=tmp_path, columns=columns
    )
    words = " ".join(plain(output).split())
    assert code == 4
    for word in ("225 calls, complete", "4.513", "155", "0.5714", "140", "holds", "broken"):
        assert word in words, words
    assert "…" not in words


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "There is no rule to check"),
        (["--min", "a=1"], "Name the calls to check."),
        (["out/", "--min", "a=1"], "out/ has no finished export"),
        ([__file__, "--min", "a=1"], "test_gate.py is a file. Name the directory of an export"),
        (["x", "--min", "=1"], "--min must be FIGURE=NUMBER"),
        (["x", "--min", "a=nan"], "--min must be FIGURE=NUMBER"),
        (["x", "--max", "a=inf"], "--max: value must be a finite number"),
        (["x", "--min", "a=1", "--run-test", str(uuid4())], "Give either ID or options"),
        (["--wait", "--min", "a=1", "--run-test", str(uuid4())], "--wait needs one test execution"),
        (["x", "--min", "a=1", "--markdown", "no/where.md"], "--markdown: can't write no/where.md"),
        (["x", "--min", "a=1", "--junit", "."], "--junit: can't write ."),
        (["x", "--min", "a=1", "--baseline", ""], "--baseline"),
        (["x", "--min", "a=1", "--min-calls", "-1"], "--min-calls"),
    ],
)
def test_wrong_arguments(
    served: StandInServer, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    """What can't be meant is said before any request, with exit code 2."""
    assert run(["gate", *arguments]) == 2
    assert reason in capsys.readouterr().err
    assert not served.requests


def test_only_test_executions_are_waited_for(
    served: StandInServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run test has no end."""
    assert run(["gate", served.run_test_ids[2], "--wait", *HOLDS]) == 2
    assert "--wait needs a test execution" in capsys.readouterr().err


def test_unfinished_calls_are_told(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever gates too early is told so, on stderr."""
    assert run(["gate", served.test_execution_ids[0], *HOLDS]) == 0
    assert "45 calls are not final yet. For a test execution, --wait waits" in capsys.readouterr().err


def test_a_missing_library_is_one_line(
    served: StandInServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra, the error says what to install."""
    import futureagi_async.analysis.summarising as summarising

    monkeypatch.setattr(summarising, "find_spec", lambda name: None if name == "scipy" else True)
    assert run(["gate", served.test_execution_ids[0], *HOLDS]) == 2
    assert capsys.readouterr().err.strip().endswith("pip install 'scipy>=1.12'")


def test_results_are_on_stdout_alone(served: StandInServer, tmp_path: Path) -> None:
    """With --json one object is on the standard output; a pipe gets no progress."""
    arguments: tuple[Any, ...] = ("gate", ":".join(served.agent_versions[0]), *HOLDS, "--json")
    done = run_command(*arguments, variables=environment(served), folder=tmp_path)
    assert json.loads(done.stdout)["passed"] is True
    assert not done.stderr
