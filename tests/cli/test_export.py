"""The export command: what it writes, says and answers the shell."""

import csv
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from anyio.to_thread import run_sync

from futureagi_async.cli import run
from futureagi_async.testing import StandInServer
from tests.support.audio_server import SOUND, AudioServer, digest
from tests.support.commands import (
    PATIENCE_SECONDS,
    environment,
    ids_in,
    names_in,
    run_command,
    started,
    use_keys,
    wait_until,
)
from tests.support.sessions import read_body


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInServer]:
    """Run a stand-in that commands in this process read from."""
    with StandInServer() as running:
        use_keys(monkeypatch, running)
        yield running


def test_the_demo_writes_what_it_reports(tmp_path: Path) -> None:
    """Without keys or ids, several lists of sample data are read, and the summary's figures are true."""
    finished = run_command(
        "export", "--demo", "-o", "calls.jsonl", "--json", variables=environment(), folder=tmp_path
    )
    assert finished.returncode == 0, finished.stderr
    summary = json.loads(finished.stdout)
    content = (tmp_path / "calls.jsonl").read_bytes()
    lines = content.splitlines()
    assert (
        len(set(lines)) == len(lines) == summary["records"] == sum(s["received"] for s in summary["sources"])
    )
    assert len(content) == summary["bytes"]
    assert {source["kind"] for source in summary["sources"]} == {
        "run_test",
        "agent_version",
        "test_execution",
    }
    assert len(summary["sources"]) > 5
    assert summary["complete"]
    assert f"Wrote {len(lines):,} records" in finished.stderr
    assert "\x1b" not in finished.stderr
    assert names_in(tmp_path) == {"calls.jsonl"}


def test_named_lists_are_read(served: StandInServer, tmp_path: Path) -> None:
    """Lists of all three kinds are read at once, a list named twice only once."""
    run_test_id, execution_id = served.run_test_ids[2], served.test_execution_ids[2]
    agent_id, version_id = served.agent_versions[0]
    target = tmp_path / "calls.jsonl"
    lists = ["--run-test", run_test_id, "--run-test", run_test_id.upper()]
    lists += ["--agent-version", f"{agent_id}:{version_id}", "--test-execution", execution_id]
    assert run(["export", *lists, "-o", str(target), "-q"]) == 0
    expected = served.run_test_rows(run_test_id)
    expected += served.version_rows(agent_id, version_id)
    expected += served.test_execution_rows(execution_id)
    assert sorted(ids_in(target)) == sorted(expected)


def test_ids_can_stand_in_files(served: StandInServer, tmp_path: Path) -> None:
    """A file holds an id a line, between comments and empty lines, as an editor of any system saves it."""
    runs, versions = tmp_path / "runs.txt", tmp_path / "versions.txt"
    first, second = served.run_test_ids[1:]
    runs.write_text(f"\ufeff# nightly\r\n\r\n  {first}  # the text agent\r\n{second}\r\n", encoding="utf-8")
    versions.write_text("".join(f"{agent}:{version}\n" for agent, version in served.agent_versions))
    target = tmp_path / "calls.jsonl"
    arguments = ["--run-test", f"@{runs}", "--agent-version", f"@{versions}"]
    assert run(["export", *arguments, "-o", str(target), "-q"]) == 0
    expected = served.run_test_rows(first) + served.run_test_rows(second)
    for agent_id, version_id in served.agent_versions:
        expected += served.version_rows(agent_id, version_id)
    assert sorted(ids_in(target)) == sorted(expected)


def test_status_and_search_choose(served: StandInServer, tmp_path: Path) -> None:
    """Run tests are asked for one state and a text, test executions for the text alone."""
    target = tmp_path / "calls.jsonl"
    lists = ["--run-test", served.run_test_ids[0], "--test-execution", served.test_execution_ids[0]]
    run(["export", *lists, "--status", "completed", "--search", "parcel", "-o", str(target), "-q"])
    queries = {request.path.split("/")[2]: request.query for request in served.requests}
    assert queries["run-tests"]["status"] == "completed"
    assert queries["run-tests"]["search"] == queries["test-executions"]["search"] == "parcel"
    assert "status" not in queries["test-executions"]
    assert 0 < len(ids_in(target)) < len(served.run_test_rows(served.run_test_ids[0]))


def test_limits_reach_the_session(served: StandInServer, tmp_path: Path) -> None:
    """Page size and requests at once are what was asked for."""
    served.latency_seconds = 0.02
    lists = [f"--run-test={id_}" for id_ in served.run_test_ids]
    limits = ["--page-size", "30", "--max-in-flight", "2", "--max-requests-per-minute", "6000"]
    assert run(["export", *lists, *limits, "-o", str(tmp_path / "c.jsonl"), "-q"]) == 0
    assert served.peak_in_flight <= 2
    assert served.requests[0].query["limit"] == "30"


@pytest.mark.parametrize("flag", [(), ("--include-provider-data",)])
def test_provider_data_is_left_out_unless_asked_for(
    served: StandInServer, tmp_path: Path, flag: tuple[str, ...]
) -> None:
    """Other parties' keys are in the file only where somebody said so."""
    target = tmp_path / "calls.jsonl"
    named = ":".join(served.agent_versions[0])
    assert run(["export", "--agent-version", named, "-o", str(target), "-q", *flag]) == 0
    assert (b"customers-own-key" in target.read_bytes()) == bool(flag)


def test_an_incomplete_list_is_told_and_exits_with_3(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is written; the summary names the list, why, and what the server said."""
    target, unknown = tmp_path / "calls.jsonl", str(uuid4())
    lists = ["--run-test", unknown, "--run-test", served.run_test_ids[2]]
    assert run(["export", *lists, "-o", str(target), "--json"]) == 3
    out, err = capsys.readouterr()
    assert f"run test {unknown[:8]} is incomplete: " in err
    assert "Run test not found" in err
    summary = json.loads(out)
    assert [source["verdict"] for source in summary["sources"]] == ["incomplete", "complete"]
    assert summary["sources"][0]["failures"][0]["error"] == "NotFoundError"
    assert not summary["complete"]
    assert sorted(ids_in(target)) == sorted(served.run_test_rows(served.run_test_ids[2]))


def test_quiet_tells_errors_only(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is printed where all is well; why a list is incomplete is."""
    good = ["--run-test", served.run_test_ids[2], "-o", str(tmp_path / "calls.jsonl"), "--quiet"]
    assert run(["export", *good]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["export", *good, "--run-test", str(uuid4())]) == 3
    out, err = capsys.readouterr()
    assert not out
    assert "incomplete" in err
    assert "Wrote" not in err


def test_refused_keys_fail_the_job(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong key is one clear line, exit code 1, and no file."""
    monkeypatch.setenv("FI_API_KEY", "wrong-key-of-mine")
    target = tmp_path / "calls.jsonl"
    lists = [f"--run-test={id_}" for id_ in served.run_test_ids]
    assert run(["export", *lists, "-o", str(target), "--quiet"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: Invalid API key or secret key")
    assert err.count("\n") == 1
    assert "wrong-key-of-mine" not in err
    assert not names_in(tmp_path)


def test_without_network_the_job_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody listens, the error names the address, exit code 1, and there is no file."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("FI_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("FI_API_KEY", "some-key")
    monkeypatch.setenv("FI_SECRET_KEY", "some-secret")
    assert run(["export", "--run-test", str(uuid4()), "-o", str(tmp_path / "c.jsonl"), "-q"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: Could not connect")
    assert str(port) in err
    assert err.count("\n") == 1
    assert not names_in(tmp_path)


def test_a_place_that_can_not_be_written_fails(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing folder is told before any request."""
    target = tmp_path / "nowhere" / "calls.jsonl"
    assert run(["export", "--run-test", served.run_test_ids[0], "-o", str(target), "-q"]) == 1
    err = capsys.readouterr().err
    assert err == f"error: Can't write {target}: there is no directory {target.parent}.\n"
    assert not served.requests


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_a_folder_that_takes_no_files_is_told_by_the_name_that_was_given(
    served: StandInServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is about the target, not about a directory that nobody has named."""
    assert run(["export", "--run-test", served.run_test_ids[0], "-o", "/proc/c.jsonl", "-q"]) == 1
    assert capsys.readouterr().err == "error: Can't write /proc/c.jsonl: No such file or directory.\n"
    assert not served.requests


def test_what_is_in_the_way_of_recordings_is_told_before_any_request(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where the audio's directory should be ends the export before it begins."""
    (tmp_path / "audio").write_text("mine")
    arguments = ["--run-test", served.run_test_ids[0], "--recordings", str(tmp_path / "audio")]
    assert run(["export", *arguments, "-o", str(tmp_path / "c.jsonl"), "-q"]) == 1
    assert (
        capsys.readouterr().err == f"error: Can't write {tmp_path}/audio: it exists and is not a directory.\n"
    )
    assert not served.requests
    assert names_in(tmp_path) == {"audio"}


@pytest.mark.slow
def test_pipes_get_a_few_plain_lines(served: StandInServer, tmp_path: Path) -> None:
    """Where stderr is no terminal, nothing is redrawn: a line at the start, one a list, the result."""
    served.fail(status=429, headers={"Retry-After": "1"})
    finished = run_command(
        "export",
        "--run-test",
        served.run_test_ids[2],
        "-o",
        "c.jsonl",
        variables=environment(served),
        folder=tmp_path,
    )
    assert finished.returncode == 0
    assert not finished.stdout
    assert "\x1b" not in finished.stderr
    assert "\r" not in finished.stderr
    lines = finished.stderr.splitlines()
    assert lines[:3] == ["Reading 1 list of calls.", "The server asked for a pause of 1 s.", "Writing files."]
    assert lines[3].split() == ["✓", "run", "test", served.run_test_ids[2][:8], "16", "calls"]
    assert lines[4].startswith("Wrote 16 records (")
    assert lines[4].endswith(" to c.jsonl: complete.")
    assert len(lines) == 5
    assert all(len(line) <= 80 for line in lines)


def test_text_of_the_server_can_not_command_a_terminal(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error message with escape sequences, newlines and markup is one harmless line."""
    message = "no \x1b[2J\x9b1m\u202e[bold red]such[/] thing\r\nerror: fake"
    served.fail(status=400, times=50, body={"message": message, "detail": message, "result": message})
    assert run(["export", "--run-test", str(uuid4()), "-o", str(tmp_path / "c.jsonl"), "-q"]) == 1
    err = capsys.readouterr().err
    assert "no [2J1m[bold red]such[/] thing error: fake" in err
    assert not set("\x1b\x9b\u202e\r") & set(err)
    assert err.count("\n") == 1


def take_away(server: StandInServer) -> None:
    """Stop a server with requests under way, once it has answered four."""
    wait_until(lambda: server.in_flight and len(server.requests) == 4)
    server.__exit__(None, None, None)


@pytest.mark.slow
def test_an_export_waits_for_a_server_that_is_restarted(tmp_path: Path) -> None:
    """It says since when there is no answer, and when it asks again; then it goes on as if nothing was."""
    with StandInServer() as server:
        source = server.add_run_test(1_100, slim=True)
        server.stall(after=4, times=1_000)
        arguments = ["export", "--run-test", source, "--max-in-flight", "3", "-o", "calls.jsonl"]
        with started(*arguments, variables=environment(server), folder=tmp_path) as process:
            take_away(server)
            assert process.stderr is not None
            said = [process.stderr.readline() for _ in range(2)]
            server.clear_faults()
            with server:
                _, rest = process.communicate(timeout=PATIENCE_SECONDS)
    pattern = r"The server does not answer since \d\d:\d\d:\d\d \(\d+ s\), next try in 1 s\.\n"
    assert re.fullmatch(pattern, said[1]), said
    assert re.search(r"^The server answers again after \d+ s\.$", rest, re.MULTILINE)
    assert process.returncode == 0, rest
    assert "1,100 records" in rest
    assert len(set(ids_in(tmp_path / "calls.jsonl"))) == 1_100


@pytest.mark.slow
def test_an_export_waits_for_so_long(tmp_path: Path) -> None:
    """After ``--max-outage`` it fails, says how long nothing was answered, and how to go on."""
    with StandInServer() as server:
        source = server.add_run_test(1_100, slim=True)
        server.stall(after=4, times=1_000)
        arguments = ["export", "--run-test", source, "-q", "--max-outage", "0.1", "--max-in-flight", "3"]
        with started(
            *arguments, "-o", "calls.jsonl", variables=environment(server), folder=tmp_path
        ) as process:
            take_away(server)
            _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert re.search(r"No request was answered for \d s \(max_outage\)\. \(GET ", said)
    assert "run the same command again to continue." in said


@pytest.fixture
def lists(served: StandInServer) -> list[str]:
    """Name two lists, one of which withholds transcripts."""
    return ["--run-test", served.run_test_ids[2], "--test-execution", served.test_execution_ids[2]]


def parts_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("calls-*"))


def test_anything_without_a_known_ending_is_a_directory(
    served: StandInServer, lists: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It gets parts of so many calls and a manifest, and the summary names them all."""
    target = tmp_path / "2026-01-31"
    assert run(["export", *lists, "-o", str(target), "--part-rows", "10", "--json"]) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out)
    parts = parts_in(target)
    assert [len(ids_in(part)) for part in parts[:-1]] == [10] * (len(parts) - 1)
    assert summary["files"] == list(map(str, parts))
    assert summary["manifest"] == str(target / "_manifest.json")
    assert summary["records"] == sum(len(ids_in(part)) for part in parts)
    assert f"in {len(parts)} files" in err


def test_a_finished_directory_is_left_as_it_is(
    served: StandInServer, lists: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command again reads nothing; --restart reads anew; with other options it is refused."""
    target = tmp_path / "out"
    command = ["export", *lists, "-o", str(target)]
    assert run([*command, "-q"]) == 0
    served.clear_requests()
    assert run([*command, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["already_finished"]
    assert "out already holds this export: " in " ".join(err.split())
    assert not served.requests
    assert run([*command, "--ordered", "-q"]) == 1
    assert "ordered was False and is now True" in capsys.readouterr().err
    assert not served.requests
    assert run([*command, "--restart", "-q"]) == 0
    assert served.requests


@pytest.mark.parametrize("name", ["calls.csv", "calls.csv.gz", "calls.parquet", "calls.ndjson.gz"])
def test_the_ending_chooses_the_format(
    served: StandInServer, lists: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Each known ending makes one file of its format, and the summary says which."""
    pytest.importorskip("pyarrow")
    assert run(["export", *lists, "-o", str(tmp_path / name), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["format"] == {"csv": "csv", "parquet": "parquet", "ndjson": "jsonl"}[name.split(".")[1]]
    assert names_in(tmp_path) == {name}
    beginning = (tmp_path / name).read_bytes()[:4]
    assert (beginning[:2] == b"\x1f\x8b") == name.endswith(".gz")
    assert (beginning == b"PAR1") == name.endswith(".parquet")


def test_a_directory_takes_a_format(served: StandInServer, lists: list[str], tmp_path: Path) -> None:
    """The parts of a directory are of the format asked for."""
    target = tmp_path / "out"
    assert run(["export", *lists, "-o", str(target), "--format", "csv", "-q"]) == 0
    (part,) = parts_in(target)
    with part.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = served.run_test_rows(served.run_test_ids[2])
    expected += served.test_execution_rows(served.test_execution_ids[2])
    assert sorted(row["id"] for row in rows) == sorted(expected)


def test_transcripts_are_fetched_on_request(
    served: StandInServer, lists: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calls whose list withholds it get their transcript, and the summary counts them."""
    target = tmp_path / "calls.jsonl"
    assert run(["export", *lists, "-o", str(target), "--transcripts", "--json"]) == 0
    out, err = capsys.readouterr()
    fetched = json.loads(out)["transcripts"]
    assert fetched["fetched"] > 0
    assert not fetched["failures"]
    assert f"Fetched {fetched['fetched']:,} transcripts that lists do not include." in " ".join(err.split())
    assert any("/call-executions/" in request.path for request in served.requests)
    rows = {row["id"]: row for row in map(json.loads, target.read_bytes().splitlines())}
    withheld = served.test_execution_rows(served.test_execution_ids[2])
    assert any(rows[call_id]["transcript"] for call_id in withheld)


def test_transcripts_that_fail_are_told(
    served: StandInServer, lists: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What could not be fetched is named with its reason, and the exit code is 3."""
    served.fail("/simulate/call-executions/", status=400, times=1, body={"detail": "no such luck"})
    target = tmp_path / "calls.jsonl"
    assert run(["export", *lists, "-o", str(target), "--transcripts", "--json", "-q"]) == 3
    out, err = capsys.readouterr()
    assert "1 transcript could not be fetched:" in err
    assert "no such luck" in err
    assert len(json.loads(out)["transcripts"]["failures"]) == 1


def test_ordered_exports_repeat_their_bytes(served: StandInServer, lists: list[str], tmp_path: Path) -> None:
    """Two exports of unchanged lists, ordered, are equal byte for byte, whatever the page size."""
    for name, size in (("a.jsonl", "100"), ("b.jsonl", "7")):
        command = ["export", *lists, "-o", str(tmp_path / name), "--ordered", "--page-size", size, "-q"]
        assert run(command) == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_normalised_records_have_documented_names(
    served: StandInServer, lists: list[str], tmp_path: Path
) -> None:
    """Records carry the model's names instead of the server's."""
    target = tmp_path / "calls.jsonl"
    assert run(["export", *lists, "-o", str(target), "--normalised", "-q"]) == 0
    first = json.loads(target.read_bytes().splitlines()[0])
    assert {"id", "source", "is_snapshot", "transcript"} <= first.keys()
    assert "duration_seconds" not in first


def test_only_changes_since_an_earlier_export(
    served: StandInServer, lists: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an earlier manifest, what has not changed is not written again; a wrong one is refused."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(["export", *lists, "-o", str(first), "-q"]) == 0
    command = ["export", *lists, "-o", str(second), "--since-manifest"]
    assert run([*command, str(first / "_manifest.json")]) == 0
    assert "Read only the changes of 2 lists since the earlier export" in " ".join(
        capsys.readouterr().err.split()
    )
    assert sum(len(ids_in(part)) for part in parts_in(second)) < sum(map(len, map(ids_in, parts_in(first))))
    assert run([*command, str(tmp_path / "missing.json"), "-q"]) == 1
    assert "missing.json" in capsys.readouterr().err


@pytest.mark.anyio
async def test_recordings_are_downloaded_on_request(served: StandInServer, tmp_path: Path) -> None:
    """Audio goes into its folder; what fails is named with its reason, and the exit code is 3."""
    path = f"/simulate/run-tests/{served.run_test_ids[2]}/call-executions/"
    command = ["export", "--run-test", served.run_test_ids[2], "-o", "out", "--json"]
    command += ["--recordings", "audio"]
    async with AudioServer(sound=SOUND) as host:
        page = read_body(served, f"{path}?page=1&limit=2")
        for row in page["results"]:
            row |= {"audio_url": None, "recordings": {"combined": host.url("sound", "?signature=canary")}}
        page |= {"count": 2, "next": None, "previous": None, "total_pages": 1}
        served.respond(path, body=json.dumps(page).encode(), times=100)

        async def export(*more: str) -> tuple[int, str, str]:
            finished = await run_sync(
                lambda: run_command(*command, *more, variables=environment(served), folder=tmp_path)
            )
            return finished.returncode, finished.stdout, finished.stderr

        code, out, err = await export()
        assert code == 3
        assert "2 recordings could not be downloaded:" in err
        assert "The host's address is not public" in err
        assert json.loads(out)["recordings"]["failures"][0]["host"] == "127.0.0.1"
        assert "canary" not in out + err
        code, out, err = await export("--allow-private-hosts")
        assert code == 0, err
    assert "Downloaded 2 recordings (8.2 MB)." in err
    assert json.loads(out)["recordings"] == {"downloaded": 2, "bytes": 2 * len(SOUND), "failures": []}
    files = sorted((tmp_path / "audio").iterdir())
    assert [file.name for file in files] == sorted(f"{row['id']}-combined.mp3" for row in page["results"])
    assert {digest(file.read_bytes()) for file in files} == {digest(SOUND)}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
