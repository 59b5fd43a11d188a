"""Real terminals of 40, 80 and 120 columns: figures, ids, verdicts and words are whole on each of them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from rich.cells import cell_len

from futureagi_async.testing import StandInServer
from tests.support.commands import environment, plain, run_on_terminal

COLUMNS = (40, 80, 120)
WIDE = "我的包裹在哪里请告诉我什么时候能够送到家里谢谢您的帮助祝您生活愉快"
WORD = "Donaudampfschifffahrtsgesellschaftskapitänsmütze"


@pytest.fixture
def served() -> Iterator[StandInServer]:
    """Run a stand-in for commands in processes of their own."""
    with StandInServer() as running:
        yield running


def seen(server: StandInServer, folder: Path, columns: int, *arguments: str, code: int = 0) -> str:
    """Run a command on a terminal of so many columns; return what it got, no line of which is longer."""
    ended, output = run_on_terminal(*arguments, variables=environment(server), folder=folder, columns=columns)
    lines = plain(output).split("\n")
    assert ended == code, lines
    assert max(map(cell_len, lines)) <= columns, lines
    assert "…" not in output
    return "\n".join(lines)


def figures(text: str) -> set[str]:
    """Return ids, numbers and times; addresses are longer than a line, and sizes and durations guesses."""
    text = re.sub(r"https://[\w./\s-]*?mp3|[\d.]+ (?:kB|MB|s)\b", "", text)
    return set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4,12}){4}|\d[\d,.:%-]*", text))


@pytest.mark.quick(1)
@pytest.mark.parametrize("command", ["call", "execution", "kpis", "plan", "ls"])
def test_no_figure_is_cut(served: StandInServer, tmp_path: Path, command: str) -> None:
    """What a wide terminal shows is whole on a narrow one, too; ids can be copied."""
    arguments = {
        "call": [served.call_execution_ids()[4]],
        "execution": [served.test_execution_ids[2], "--limit", "100"],
        "kpis": [served.test_execution_ids[0]],
        "plan": ["--transcripts", *(f"--run-test={id_}" for id_ in served.run_test_ids)],
        "ls": [],
    }[command]
    narrow, usual, wide = (seen(served, tmp_path, columns, command, *arguments) for columns in COLUMNS)
    assert figures(narrow) == figures(usual) == figures(wide)
    assert len(figures(wide)) > 5


@pytest.mark.parametrize("columns", COLUMNS)
def test_no_letter_is_lost(served: StandInServer, tmp_path: Path, columns: int) -> None:
    """Text without blanks, and of wide characters, is broken into lines wherever it stands."""
    text = f"{WIDE} {WORD}"
    turn = {"role": "assistant", "content": text, "start_time_seconds": 1.5}
    result = {"name": text, "output": text, "reason": text, "output_type": "text"}
    places = 7  # the name, the result and the reason of an evaluation, and these
    record = {
        "id": str(uuid4()),
        "scenario": text,
        "call_summary": text,
        "ended_reason": text,
        "transcript": [turn],
        "eval_outputs": {str(uuid4()): result},
    }
    served.respond("/call-executions/", body=json.dumps(record).encode())
    shown = seen(served, tmp_path, columns, "call", record["id"])
    assert [letter for letter in set(WIDE) if shown.count(letter) != places * WIDE.count(letter)] == []
    assert shown.count("ü") == places * WORD.count("ü")


@pytest.mark.quick(1)
@pytest.mark.parametrize("columns", COLUMNS)
def test_an_export_fits(served: StandInServer, tmp_path: Path, columns: int) -> None:
    """Bars, summary and verdicts are whole: no line of any moment is longer than the terminal."""
    served.latency_seconds = 0.1
    lists = [*(f"--run-test={id_}" for id_ in served.run_test_ids), "--run-test", str(uuid4())]
    lists += [f"--agent-version={':'.join(pair)}" for pair in served.agent_versions]
    shown = seen(served, tmp_path, columns, "export", *lists, "-o", "c.jsonl", code=3)
    assert re.search(rf"(run test )?{served.run_test_ids[0][:8]} .*\d+/256 +(reading|complete)", shown)
    summary = shown[shown.index("✓") :]
    for run_test_id in served.run_test_ids:
        count = len(served.run_test_rows(run_test_id))
        assert re.search(rf"✓ run test {run_test_id[:8]} +{count} calls", summary)
    words = " ".join(summary.split())
    assert "0 calls incomplete" in words
    assert re.search(r"Wrote \d+ records \(\S+ .B\) to c\.jsonl: 1 of 7 lists is incomplete\.", words)


@pytest.mark.quick(1)
@pytest.mark.parametrize("columns", COLUMNS)
def test_the_figures_of_an_export_fit(served: StandInServer, tmp_path: Path, columns: int) -> None:
    """With --verbose every figure is there with its heading, and each heading with what it means."""
    arguments = ("export", "--run-test", served.run_test_ids[0], "-o", "c.jsonl", "--verbose")
    shown = seen(served, tmp_path, columns, *arguments)
    summary = " ".join(shown[shown.rindex("Listed", 0, shown.index("Listed:")) :].split())
    for word in ("256", "251", "complete", "Overlap:", "Repeats:", "Why complete (1 list):"):
        assert word in summary


@pytest.mark.slow
def test_a_terminal_without_unicode_gets_other_marks(served: StandInServer, tmp_path: Path) -> None:
    """Where a tick can't be written, a plus stands for it, and nothing is an escape."""
    arguments = ("export", "--run-test", served.run_test_ids[2], "-o", "c.jsonl")
    variables = environment(served, PYTHONIOENCODING="ascii", LC_ALL="C", TERM="dumb")
    code, output = run_on_terminal(*arguments, variables=variables, folder=tmp_path)
    assert code == 0
    assert f"+ run test {served.run_test_ids[2][:8]}  16 calls" in plain(output)
    assert "\\u" not in output


def test_json_is_laid_out_on_a_terminal(served: StandInServer, tmp_path: Path) -> None:
    """People get an indented record, of the same content as a pipe gets."""
    arguments = ("call", served.call_execution_ids()[4], "--json")
    code, output = run_on_terminal(*arguments, variables=environment(served), folder=tmp_path)
    assert code == 0
    assert plain(output).startswith('{\n  "id": "')
    assert json.loads(plain(output))["id"] == served.call_execution_ids()[4]
