"""The sync command: what it prints, its exit codes, and how it is told what to do."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from futureagi_async.cli import run
from futureagi_async.testing import StandInServer
from tests.support.commands import (
    COLUMNS,
    PATIENCE_SECONDS,
    environment,
    names_in,
    run_command,
    run_on_terminal,
    started,
    use_keys,
    wait_until,
)
from tests.support.databases import calls_in, rows_of


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInServer]:
    """Run a stand-in that commands in this process read from, in an empty directory."""
    with StandInServer() as running:
        use_keys(monkeypatch, running)
        monkeypatch.chdir(tmp_path)
        yield running


def test_a_line_a_list(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The first time all is new, then nothing; nothing is on stdout, and lines fit 80 columns."""
    lists = ["--run-test", served.run_test_ids[0], "--test-execution", served.test_execution_ids[0]]
    assert run(["sync", *lists, "calls.duckdb"]) == 0
    out, err = capsys.readouterr()
    assert not out
    lines = err.splitlines()
    assert lines[0] == "Reading 2 lists of calls."
    assert "Updating database." in lines
    assert lines[-3].split() == ["✓", "run", "test", served.run_test_ids[0][:8], "in", "full:", "251", "new"]
    assert lines[-1] == "Synced calls.duckdb: 476 new; complete."
    assert all(len(line) <= COLUMNS for line in lines)
    assert run(["sync", *lists[:2], "calls.duckdb"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[-3].endswith("changes: nothing new")
    assert lines[-2] == "1 list of earlier syncs is not named in this sync; the rows are unchanged."
    assert lines[-1] == "Synced calls.duckdb: nothing new; complete."


def test_programs_get_the_whole_report(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """``--json`` prints one object, ``--quiet`` nothing else; what is missing is 3, with its reason."""
    unknown = str(uuid4())
    arguments = ["--run-test", served.run_test_ids[0], "--run-test", unknown, "delta://lake"]
    assert run(["sync", "--json", "--quiet", *arguments]) == 3
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["database"], report["complete"], report["inserted"]) == ("delta://lake", False, 251)
    assert [each["read"]["verdict"] for each in report["sources"]] == ["complete", "incomplete"]
    assert err.splitlines()[0].startswith(f"run test {unknown[:8]} is incomplete: ")
    assert len(calls_in("delta://lake")) == 251


def test_how_often_lists_are_read_in_full(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """``0d`` is each time, ``never`` is never; anything else is refused before a request."""
    lists = ["--run-test", served.run_test_ids[0], "calls.duckdb"]
    assert run(["sync", *lists]) == 0
    assert run(["sync", "--full-every", "0d", *lists]) == 0
    assert "in full: nothing new" in capsys.readouterr().err
    assert run(["sync", "--full-every", "never", *lists]) == 0
    assert "changes: nothing new" in capsys.readouterr().err
    served.clear_requests()
    for wrong in ("soon", "2026-01-31", "", "-3d"):
        assert run(["sync", f"--full-every={wrong}", *lists]) == 2
        assert "--full-every must be a time such as 12h, 30d or 4w, or never" in capsys.readouterr().err
    assert not served.requests


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["--demo"],
            2,
            "The database is missing. Name it first. For example: futureagi-async sync calls.duckdb --all.",
        ),
        (["--demo", "calls.parquet"], 2, "error: DATABASE must end in .duckdb, .ddb or .db"),
        (["--demo", "s3://bucket/calls"], 2, "error: DATABASE must begin with delta+s3://"),
        (["--demo", "missing/calls.duckdb"], 1, "there is no directory missing."),
        (["calls.duckdb"], 2, "There is no list to read"),
        (["calls.duckdb", "--run-test", str(uuid4())], 1, "Check the id: 'futureagi-async ls' lists ids"),
        (["--demo", "-x.duckdb", "y.duckdb"], 2, "Unexpected argument"),
    ],
)
def test_wrong_arguments(
    served: StandInServer, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    """One line says what is wrong, in the words of the command line; nothing is written."""
    assert run(["sync", *arguments]) == code
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("error: ") == 1
    assert not out
    assert not names_in(Path())


def test_less_than_before_is_refused(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the option, as it is typed."""
    lists = ["--test-execution", served.test_execution_ids[0], "calls.duckdb", "--quiet"]
    assert run(["sync", "--transcripts", *lists]) == 0
    assert any(row["transcript"] for row in rows_of("calls.duckdb", "calls"))
    assert run(["sync", *lists]) == 1
    assert "would lose it: pass --transcripts again, or choose another database." in capsys.readouterr().err


@pytest.mark.slow
def test_names_and_files_of_sources(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Lists are named as for an export: by name, in a file, or all there are."""
    Path("sources.toml").write_text('[nightly]\nrun_tests = ["Checkout flow"]\n')
    assert run(["sync", "--sources", "sources.toml", "--quiet", "calls.duckdb"]) == 0
    assert len(calls_in("calls.duckdb")) == 251
    assert run(["sync", "--all", "--quiet", "calls.duckdb"]) == 0
    assert len(rows_of("calls.duckdb", "sources")) > 3
    assert not capsys.readouterr().err


def test_interrupted_it_can_be_gone_on_with(tmp_path: Path) -> None:
    """A signal while reading leaves no database; it is 130, and the same command goes on."""
    with StandInServer() as server:
        server.stall(after=1, times=1_000)
        run_test, variables = server.run_test_ids[0], environment(server)
        arguments = ["sync", "--run-test", run_test, "--page-size", "20", "calls.duckdb"]
        with started(*arguments, variables=variables, folder=tmp_path) as process:
            kept = ".calls.duckdb.sync/reading-*/.export/part-*"
            wait_until(lambda: any(b'"id"' in path.read_bytes() for path in tmp_path.glob(kept)))
            process.send_signal(signal.SIGTERM)
            err = process.communicate(timeout=PATIENCE_SECONDS)[1]
        assert process.returncode == 130
        assert err.endswith("the database is unchanged; run the same command again to continue.\n")
        assert names_in(tmp_path) == {".calls.duckdb.sync"}
        server.clear_faults()
        finished = run_command(*arguments, variables=variables, folder=tmp_path)
    assert finished.returncode == 0
    assert names_in(tmp_path) == {"calls.duckdb"}


@pytest.mark.slow
def test_a_terminal_shows_the_merging(tmp_path: Path) -> None:
    """Bars are drawn while it runs, and gone at the end."""
    code, output = run_on_terminal("sync", "--demo", "calls.duckdb", variables=environment(), folder=tmp_path)
    assert code == 0
    assert "updating" in output
    assert "Synced calls.duckdb: 826 new; complete." in output
