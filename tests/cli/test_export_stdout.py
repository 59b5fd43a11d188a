"""``export -o -``: records on the standard output, everything else on stderr."""

import csv
import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from futureagi_async.testing import StandInServer
from tests.support.commands import (
    environment,
    names_in,
    run_command,
    run_in_shell,
    run_on_terminal,
    started,
    wait_until,
)


@pytest.fixture
def served() -> Iterator[StandInServer]:
    """Run a stand-in for commands in processes of their own."""
    with StandInServer() as running:
        yield running


def variables(server: StandInServer, folder: Path) -> dict[str, str]:
    """Return a command's variables, with a folder of its own for temporary files."""
    (folder / "tmp").mkdir()
    return environment(server, TMPDIR=str(folder / "tmp"))


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_records_are_printed_once_each(served: StandInServer, tmp_path: Path, name: str) -> None:
    """Nothing but JSON Lines is on stdout, progress and summary are on stderr, and no file is left."""
    run_test_id = served.run_test_ids[1]
    finished = run_command(
        "export",
        "--run-test",
        run_test_id,
        "-o",
        name,
        variables=variables(served, tmp_path),
        folder=tmp_path,
    )
    assert finished.returncode == 0
    ids = [json.loads(line)["id"] for line in finished.stdout.rstrip("\n").split("\n")]
    assert sorted(ids) == sorted(served.run_test_rows(run_test_id))
    assert finished.stderr.endswith(" to stdout: complete.\n")
    assert names_in(tmp_path) == {"tmp"}
    assert not names_in(tmp_path / "tmp")


def test_the_options_of_files_work_there_too(served: StandInServer, tmp_path: Path) -> None:
    """CSV, order and normalised names are as in a file; a pipe's other end reads them."""
    arguments = f"--run-test {served.run_test_ids[2]} --quiet"
    line = f"run export {arguments} --format csv --ordered -o - | cat"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    rows = list(csv.DictReader(io.StringIO(finished.stdout.decode("utf-8-sig"))))
    assert sorted(row["id"] for row in rows) == sorted(served.run_test_rows(served.run_test_ids[2]))
    assert not finished.stderr
    line = f"run export {arguments} --normalised -o - | head -n 1"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    assert json.loads(finished.stdout)["source"]["kind"] == "run_test"


@pytest.mark.slow
def test_what_is_incomplete_is_said_so(served: StandInServer, tmp_path: Path) -> None:
    """What could be read is printed, the reason is on stderr, and the exit code is 3."""
    arguments = ["--run-test", str(uuid4()), "--run-test", served.run_test_ids[2], "-o", "-", "--quiet"]
    finished = run_command("export", *arguments, variables=environment(served), folder=tmp_path)
    assert finished.returncode == 3
    assert finished.stdout.count("\n") == len(served.run_test_rows(served.run_test_ids[2]))
    assert " is incomplete: " in finished.stderr


def test_a_failure_prints_no_record(served: StandInServer, tmp_path: Path) -> None:
    """Where keys are refused in the middle nothing is on stdout, and nothing is promised to be kept."""
    served.fail(status=401, after=1, times=100)
    arguments = [
        "--run-test",
        served.run_test_ids[0],
        "--page-size",
        "20",
        "-o",
        "-",
        "-q",
        "--max-in-flight=1",
    ]
    finished = run_command("export", *arguments, variables=variables(served, tmp_path), folder=tmp_path)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.count("\n") == 1
    assert "kept" not in finished.stderr
    assert not names_in(tmp_path / "tmp")


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_nothing_behind(
    served: StandInServer, tmp_path: Path, signal_: signal.Signals
) -> None:
    """Ctrl-C, a termination signal and a closed terminal remove the temporary file."""
    served.stall(after=1, times=1000)
    arguments = ["export", "--run-test", served.run_test_ids[0], "--page-size", "20", "-o", "-"]
    with started(*arguments, variables=variables(served, tmp_path), folder=tmp_path) as process:
        wait_until(lambda: served.in_flight and names_in(tmp_path / "tmp"))
        process.send_signal(signal_)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("Interrupted: no new file was written.\n")
    assert not names_in(tmp_path / "tmp")


def test_a_terminal_gets_harmless_lines(served: StandInServer, tmp_path: Path) -> None:
    """Records may hold control characters above 0x7f unescaped; a terminal does not get them."""
    row = {"id": str(uuid4()), "status": "completed", "call_summary": "a\x9b2Jb\u202e"}
    page = {"count": 1, "next": None, "previous": None, "total_pages": 1, "current_page": 1, "results": [row]}
    served.respond("/call-executions/", body=json.dumps(page, ensure_ascii=False).encode(), times=10)
    arguments = ["export", "--run-test", served.run_test_ids[2], "-o", "-", "-q"]
    code, output = run_on_terminal(*arguments, variables=environment(served), folder=tmp_path)
    assert code in (0, 3)
    assert "a2Jb" in output
    assert not set("\x9b\u202e") & set(output)


def test_a_temporary_directory_without_room_is_named(served: StandInServer, tmp_path: Path) -> None:
    """A full disk for temporary files is one line that names the variable to set."""
    line = f"ulimit -f 8; run export --run-test {served.run_test_ids[0]} -q -o - | cat"
    no_caches = {"PYTHONDONTWRITEBYTECODE": "1"}  # or the limit would cut off compiled modules, too
    finished = run_in_shell(
        f"set -o pipefail; trap '' XFSZ; {line}",
        variables=variables(served, tmp_path) | no_caches,
        folder=tmp_path,
    )
    assert (finished.returncode, finished.stdout) == (1, b"")
    assert finished.stderr.startswith(b"error: Can't write a temporary file: ")
    assert b". Set TMPDIR to a directory with free space." in finished.stderr
    assert finished.stderr.count(b"\n") == 1
    assert not names_in(tmp_path / "tmp")
