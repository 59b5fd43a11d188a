"""What the options of the export command make of the files, and what the command says of them."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.to_thread import run_sync

from futureagi_async.cli import run
from futureagi_async.testing import StandInServer
from tests.audio_server import SOUND, AudioServer, digest
from tests.servers import read_body
from tests.test_cli_support import environment, ids_in, names_in, run_command, use_keys


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInServer]:
    """Run a stand-in that commands in this process read from."""
    with StandInServer() as running:
        use_keys(monkeypatch, running)
        yield running


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
    assert summary["manifest"] == str(target / "manifest.json")
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
    assert "out holds this export already: " in " ".join(err.split())
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
    assert f"Fetched {fetched['fetched']:,} transcripts that the lists withhold." in " ".join(err.split())
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
    assert run([*command, str(first / "manifest.json")]) == 0
    assert "Of 2 lists only what changed since the earlier export was read" in " ".join(
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
