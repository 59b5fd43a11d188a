"""`export` with fewer columns, digests and folders, from the shell."""

import json
import re
from pathlib import Path

import pytest

from futureagi_async import read_export, verify_export
from tests.support.commands import environment, run_in_shell
from tests.support.slow import slow

KEY = "c4n4ry-redact-key"


def run(line: str, folder: Path, **variables: str) -> tuple[int, bytes, str]:
    """Run commands in a shell, and return the exit code and both outputs."""
    finished = run_in_shell(line, variables=environment(**variables), folder=folder)
    return finished.returncode, finished.stdout, finished.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", ["--columns id,status --columns overall_score", *slow("--columns 'overall_score, status'")]
)
def test_columns_are_named_with_commas_or_one_by_one(tmp_path: Path, options: str) -> None:
    """They come in the order of the whole table, and the id with them."""
    code, out, said = run(f"run export --demo -q {options} --format csv -o -", tmp_path)
    assert (code, said) == (0, "")
    lines = out.removeprefix(b"\xef\xbb\xbf").splitlines()
    assert lines[0] == b'"id","status","overall_score"'
    assert len(lines) > 800


def test_many_columns_that_are_left_out_are_counted(tmp_path: Path) -> None:
    """The first ones are named."""
    code, _, said = run("run export --demo --columns id --format csv -o calls.csv", tmp_path)
    assert code == 0
    assert re.search(r"^Left out \d+ columns: (\w+, ){5}\w+ and \d+ more\.$", said, re.MULTILINE)


@pytest.mark.slow
def test_a_whole_command(tmp_path: Path) -> None:
    """The summary tells what was left out and replaced, for people and as JSON; the key is nowhere."""
    line = "run export --demo --drop transcript,customer_name --redact --partition source --format parquet"
    code, _, said = run(f"{line} -o out/", tmp_path, FI_REDACT_KEY=KEY)
    assert code == 0
    assert "Left out 2 columns: customer_name, transcript." in said
    assert "Phone numbers and names are replaced with digests (id of the key: " in said
    assert verify_export(tmp_path / "out").ok
    assert {"customer_name", "transcript"}.isdisjoint(read_export(tmp_path / "out").calls.column_names)
    code, out, more = run(f"{line} -q --json -o out/", tmp_path, FI_REDACT_KEY=KEY)
    summary = json.loads(out)
    assert summary["left_out_columns"] == ["customer_name", "transcript"]
    assert f"(id of the key: {summary['redacted_with']})" in said
    assert KEY not in said + more + out.decode()


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--columns id,statu -o calls.csv", "--columns has no column 'statu': did you mean 'status'?"),
        ("--drop id -o calls.csv", "--drop must not name 'id': calls could not be distinguished without it."),
        (
            "--drop transcript -o calls.jsonl",
            (
                "--columns and --drop need --normalised: without it, JSON Lines have every value as the "
                "server sent it."
            ),
        ),
        ("--redact -o calls.csv", "--redact needs a key: set FI_REDACT_KEY."),
        (
            "--partition date -o calls.csv",
            "--partition needs a directory as the target: a single file has no folders.",
        ),
        (
            "--include-provider-data --drop extra -o calls.csv",
            (
                "--include-provider-data can't be used with columns or drop: the data of the voice provider "
                "repeats values of other columns."
            ),
        ),
    ],
)
def test_mistakes_are_told_in_the_shells_words(tmp_path: Path, options: str, message: str) -> None:
    """One line each, with exit code 2, and no file."""
    code, out, said = run(f"run export --demo {options}", tmp_path, FI_REDACT_KEY="")
    assert (code, out, said) == (2, b"", f"error: {message}\n")
    assert not list(tmp_path.iterdir())


def test_lines_as_sent_can_not_be_redacted(tmp_path: Path) -> None:
    """The error names the option that makes it possible."""
    code, _, said = run("run export --demo --redact -o calls.jsonl", tmp_path, FI_REDACT_KEY=KEY)
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("error: --redact needs --normalised: without it, JSON Lines have every value")
