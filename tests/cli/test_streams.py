"""Standard streams that are closed, full, or without a reader, and too few open files: nothing is lost."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from futureagi_async.testing import StandInServer
from tests.support.commands import environment, ids_in, names_in, run_in_shell

NO_ROOM = b"error: Can't write to stdout: No space left on device."
CLOSED = b"error: Can't write to stdout: Bad file descriptor."


@pytest.fixture
def served() -> Iterator[StandInServer]:
    """Run a stand-in for commands in processes of their own."""
    with StandInServer() as running:
        yield running


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "ends",
    [
        "-o calls.jsonl >&-",
        "-o out/ 2>&-",
        "-o calls.jsonl >&- 2>&- <&-",
        "-o calls.jsonl >/dev/full",
        "-o calls.jsonl 2>/dev/full",
        "-o out/ 2> >(exec true)",
        "-o calls.jsonl --json 2>/dev/full",
    ],
)
def test_an_export_is_finished_whatever_its_ends(served: StandInServer, tmp_path: Path, ends: str) -> None:
    """Where nobody can be told, the files are whole all the same, hold records only, and the code is 0."""
    run_test_id = served.run_test_ids[2]
    line = f"run export --run-test {run_test_id} {ends}"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert b"Traceback" not in finished.stderr
    (file,) = tmp_path.glob("**/calls*.jsonl")
    assert sorted(ids_in(file)) == sorted(served.run_test_rows(run_test_id))


@pytest.mark.slow
def test_the_verdict_survives_a_closed_stderr(served: StandInServer, tmp_path: Path) -> None:
    """An incomplete export exits with 3, whether or not the reason can be told."""
    served.fail(status=500, after=1, times=1000)
    line = f"run export --run-test {served.run_test_ids[0]} --page-size 20 -o calls.jsonl 2>&-"
    assert run_in_shell(line, variables=environment(served), folder=tmp_path).returncode == 3
    assert names_in(tmp_path) == {"calls.jsonl", ".calls.jsonl.export"}


@pytest.mark.quick(1)
@pytest.mark.parametrize(("end", "said"), [(">/dev/full", NO_ROOM), (">&-", CLOSED)])
def test_a_summary_that_can_not_be_shown_is_an_error(
    served: StandInServer, tmp_path: Path, end: str, said: bytes
) -> None:
    """Who asked for JSON and can't get it is told so, in one line that says that the export is there."""
    line = f"run export --run-test {served.run_test_ids[2]} -o calls.jsonl --quiet --json {end}"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    assert finished.returncode == 1
    assert finished.stderr == said + b" The export itself is finished: calls.jsonl.\n"
    assert len(ids_in(tmp_path / "calls.jsonl")) == len(served.run_test_rows(served.run_test_ids[2]))


COMMANDS = (
    "call {call}",
    "call {call} --json",
    "execution {execution}",
    "kpis {execution} --json",
    "plan --run-test {run}",
    "plan --run-test {run} --json",
    "verify .",
    "verify . --json",
    "serve",
    "completion bash",
    "--help",
    "export --help",
    "--version",
    "export --run-test {run} --quiet -o -",
    "export --run-test {run} --quiet -o /dev/stdout --format csv",
)


def filled_in(arguments: str, server: StandInServer) -> str:
    """Give a command ids of the stand-in's."""
    return arguments.format(
        call=server.call_execution_ids()[0],
        execution=server.test_execution_ids[2],
        run=server.run_test_ids[2],
    )


@pytest.mark.quick(4)
@pytest.mark.parametrize("arguments", COMMANDS)
def test_results_that_can_not_be_shown_are_one_line(
    served: StandInServer, tmp_path: Path, arguments: str
) -> None:
    """On a full disk every command says so once, and exits with 1."""
    line = f"run {filled_in(arguments, served)} >/dev/full"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    assert (finished.returncode, finished.stderr) == (1, NO_ROOM + b"\n")


@pytest.mark.quick(2)
@pytest.mark.parametrize("arguments", [COMMANDS[0], COMMANDS[3], COMMANDS[-3], COMMANDS[-2]])
def test_a_closed_stdout_is_one_line(served: StandInServer, tmp_path: Path, arguments: str) -> None:
    """Where stdout is closed, a command says so once, and exits with 1."""
    line = f"run {filled_in(arguments, served)} >&-"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    assert (finished.returncode, finished.stderr) == (1, CLOSED + b"\n")


@pytest.mark.quick(3)
@pytest.mark.parametrize("arguments", [*COMMANDS[:4], *COMMANDS[-3:]])
def test_a_reader_that_left_is_not_complained_to(
    served: StandInServer, tmp_path: Path, arguments: str
) -> None:
    """Whoever closes the pipe early has seen enough: no message, and exit code 1."""
    line = f"set -o pipefail; run {filled_in(arguments, served)} | true"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    assert (finished.returncode, finished.stderr) == (1, b"")


@pytest.mark.quick(3)
@pytest.mark.parametrize("end", ["2>&-", "2>/dev/full", "2> >(exec true)"])
@pytest.mark.parametrize(
    ("arguments", "code"), [("verify missing", 1), ("call no-id --demo", 2), ("exprot", 2)]
)
def test_errors_that_can_not_be_shown_keep_their_code(
    tmp_path: Path, end: str, arguments: str, code: int
) -> None:
    """The exit code says what went wrong where no message can."""
    finished = run_in_shell(f"run {arguments} {end}", variables=environment(), folder=tmp_path)
    assert (finished.returncode, finished.stdout, finished.stderr) == (code, b"", b"")


def test_a_path_need_not_be_utf_8(served: StandInServer, tmp_path: Path) -> None:
    """Its odd byte is shown as an escape, to people and in the JSON, and the file has its very name."""
    line = f"run export --run-test {served.run_test_ids[2]} --json -o $'b\\xff.jsonl'"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    summary = json.loads(finished.stdout)
    assert summary["path"] == summary["files"][0] == "b\\xff.jsonl"
    assert b" to b\\xff.jsonl: complete.\n" in finished.stderr
    assert [name.name for name in tmp_path.iterdir()] == ["b\udcff.jsonl"]


@pytest.mark.quick(1)
@pytest.mark.parametrize("arguments", ["-o $'b\\xff/' --transcripts", "-o $'\\xff\\xfe.csv.gz'"])
def test_other_paths_need_not_be_utf_8_either(served: StandInServer, tmp_path: Path, arguments: str) -> None:
    """Directories, folders of audio and compressed files take any name the system takes."""
    line = f"run export --run-test {served.run_test_ids[2]} {arguments}"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    assert b"Traceback" not in finished.stderr
    assert b"complete" in finished.stderr


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "arguments",
    [
        "verify $'\\xff'",
        "export --sources $'\\xff' -o o",
        "plan --run-test @$'\\xff'",
    ],
)
def test_errors_show_such_paths_as_escapes(tmp_path: Path, arguments: str) -> None:
    """A path that is not there is named, whatever its bytes."""
    finished = run_in_shell(f"run {arguments}", variables=environment(), folder=tmp_path)
    assert finished.returncode in (1, 2)
    assert finished.stderr.startswith(b"error: ")
    assert finished.stderr.count(b"\n") == 1
    assert b"xff" in finished.stderr


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("limit", "arguments", "needed"),
    [
        (6, "export --run-test {run} -o calls.jsonl", 12),
        (11, "export --run-test {run} -o calls.csv", 12),
        (12, "export --run-test {run} -o calls.parquet", 16),
        (12, "export --run-test {run} -o calls.jsonl --recordings audio", 20),
        (12, "kpis --demo", 15),
        (8, "call {call}", 9),
    ],
)
def test_too_few_open_files_are_one_line(
    served: StandInServer, tmp_path: Path, limit: int, arguments: str, needed: int
) -> None:
    """Where too few files may be open, nothing is begun, and the line says how many it takes."""
    line = f"ulimit -n {limit}; run {filled_in(arguments, served)}"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    assert finished.returncode == 2
    assert finished.stderr.startswith(
        f"error: This command needs {needed} open files, but the system allows only {limit}. ".encode()
    )
    assert finished.stderr.count(b"\n") == 1
    assert not served.requests
    assert not names_in(tmp_path)


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("limit", "target", "in_flight"),
    [
        (12, "-o calls.jsonl", 1),
        (12, "-o calls.csv.gz", 1),
        (12, "-o - > calls", 1),
        (15, "-o calls.jsonl", 4),
        (16, "-o out --format parquet", 1),
        (16, "-o calls.jsonl --ordered --transcripts", 1),
        (19, "-o calls.parquet", 4),
    ],
)
def test_few_open_files_are_enough(
    served: StandInServer, tmp_path: Path, limit: int, target: str, in_flight: int
) -> None:
    """Where few files may be open, fewer requests are under way, and the export is finished."""
    line = f"ulimit -n {limit}; run export --run-test {served.run_test_ids[0]} --page-size 20 -q {target}"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert served.peak_in_flight <= in_flight


@pytest.mark.quick(1)
@pytest.mark.parametrize("arguments", ["call {call}", "execution {execution}", "kpis {execution}", "ls"])
def test_few_open_files_are_enough_to_look(served: StandInServer, tmp_path: Path, arguments: str) -> None:
    """What reads one thing needs the fewest."""
    line = f"ulimit -n 9; run {filled_in(arguments, served)}"
    finished = run_in_shell(line, variables=environment(served), folder=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, b"")


@pytest.mark.slow
def test_few_open_files_are_enough_for_a_demo(tmp_path: Path) -> None:
    """With its own server in the same process, too."""
    finished = run_in_shell(
        "ulimit -n 18; run export --demo -q -o calls.jsonl", variables=environment(), folder=tmp_path
    )
    assert (finished.returncode, finished.stderr) == (0, b"")


def test_a_soft_limit_of_open_files_is_raised(served: StandInServer, tmp_path: Path) -> None:
    """A limit that the process may raise itself is no obstacle."""
    line = f"ulimit -Sn 12; run export --run-test {served.run_test_ids[0]} -q -o calls.jsonl"
    assert run_in_shell(line, variables=environment(served), folder=tmp_path).returncode == 0
