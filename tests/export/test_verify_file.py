"""Single files are verified by what they show themselves: readable to the end, no call twice in a list."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from futureagi_async.cli import run
from futureagi_async.export import verify_export
from futureagi_async.testing import StandInServer
from tests.support.commands import use_keys

NAMES = ("calls.jsonl", "calls.jsonl.gz", "calls.jsonl.zst", "calls.csv", "calls.csv.gz", "calls.parquet")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInServer]:
    """Run a stand-in that commands in this process read from."""
    with StandInServer() as running:
        use_keys(monkeypatch, running)
        yield running


def export(server: StandInServer, target: Path, *options: str) -> int:
    """Export two lists that have calls in common; return how many records there are."""
    lists = [f"--run-test={server.run_test_ids[2]}", f"--test-execution={server.test_execution_ids[2]}"]
    assert run(["export", *lists, "-o", str(target), "-q", *options]) == 0
    return len(server.run_test_rows(server.run_test_ids[2])) + len(
        server.test_execution_rows(server.test_execution_ids[2])
    )


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", NAMES)
def test_a_sound_file(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Its records are counted, what can't be noticed is said, and the exit code is 0."""
    expected = export(served, tmp_path / name)
    assert run(["verify", str(tmp_path / name)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"{name}: {expected} records, all readable." in out
    unseen = ", missing records or repeated calls." if "jsonl" in name else " or missing records."
    assert f"A single file has no manifest. So verify can't find changed values{unseen}" in out
    report = verify_export(tmp_path / name)
    assert (report.ok, report.records, report.files, report.complete) == (True, expected, 1, None)


def cut_off(content: bytes) -> bytes:
    return content[:-20]


def without_newline(content: bytes) -> bytes:
    return content[:-1]


def with_a_line_twice(content: bytes) -> bytes:
    return content + content.splitlines(keepends=True)[-1]


def with_another_line(content: bytes) -> bytes:
    return content + b"nonsense\n"


DAMAGES: dict[str, tuple[str, tuple[str, ...], Callable[[bytes], bytes], str]] = {
    "cut off": ("c.jsonl", (), cut_off, "can't read"),
    "no newline": ("c.jsonl", (), without_newline, "its last line is incomplete"),
    "nonsense": ("c.jsonl", (), with_another_line, "can't read"),
    "a line twice": ("c.jsonl", ("--normalised",), with_a_line_twice, "twice for the same list: 1."),
    "a row twice": ("c.csv", (), with_a_line_twice, "twice for the same list: 1."),
    "a row cut off": ("c.csv", (), cut_off, "can't read"),
    "gzip cut off": ("c.jsonl.gz", (), cut_off, "can't read"),
    "zstd cut off": ("c.csv.zst", (), cut_off, "can't read"),
    "no footer": ("c.parquet", (), cut_off, "can't read"),
    "no csv": ("c.csv", (), lambda _: b"a,b\n1,2\n", "can't read"),
}


@pytest.mark.quick(3)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    """What can't be read, or is there twice, is a sentence, and the exit code is 1."""
    name, options, harm, said = DAMAGES[damage]
    path = tmp_path / name
    export(served, path, *options)
    path.write_bytes(harm(path.read_bytes()))
    assert run(["verify", str(path)]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert said in out.replace("Can't", "can't")
    assert "1 problem found." in out


@pytest.mark.slow
def test_an_incomplete_file_is_known_by_what_lies_beside_it(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As long as the same export could go on, the exit code is 3; a file not yet there is told as such."""
    served.fail(status=500, after=1, times=1000)
    target = str(tmp_path / "c.jsonl")
    assert run(["export", "--run-test", served.run_test_ids[0], "--page-size=20", "-o", target, "-q"]) == 3
    assert run(["verify", target]) == 3
    assert "The export was incomplete when it was written" in " ".join(capsys.readouterr().out.split())
    Path(target).unlink()
    assert run(["verify", target]) == 1
    assert "the export is not finished" in capsys.readouterr().err


def test_a_manifest_stands_for_its_directory(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who names _manifest.json means the export that it belongs to."""
    expected = export(served, tmp_path / "out")
    assert run(["verify", str(tmp_path / "out" / "_manifest.json")]) == 0
    assert f"out: {expected} records in 1 file, all unchanged." in " ".join(capsys.readouterr().out.split())


def test_files_of_other_kinds_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What no export is called is no export, and an address is none of a file here."""
    (tmp_path / "a.txt").write_bytes(gzip.compress(b"{}\n"))
    assert run(["verify", str(tmp_path / "a.txt")]) == 1
    assert "exports end in .jsonl, .csv" in capsys.readouterr().err
    assert run(["verify", "s3://bucket/calls.jsonl"]) == 2
    assert capsys.readouterr().err.startswith("error: PATH must be a prefix such as s3://bucket/prefix/")
    assert run(["verify", "https://bucket/calls.jsonl"]) == 2
    assert capsys.readouterr().err.startswith("error: PATH must be a path on this machine")
