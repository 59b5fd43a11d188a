"""How every kind of damage to an export is found."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from futureagi_async import ExportError
from futureagi_async.export import verify_export
from futureagi_async.testing import StandInServer
from tests.support.exports import all_lists, export, interrupt, read_manifest, redo_digest, write_manifest
from tests.support.sessions import open_session

Damage = Callable[[Path], object]


def flip_byte(folder: Path) -> None:
    """Change one character of one record."""
    path = folder / "calls-00001.jsonl"
    content = bytearray(path.read_bytes())
    place = content.index(b'"status":"') + 12
    content[place] ^= 1
    path.write_bytes(content)


def drop_line(folder: Path) -> None:
    """Take one record out."""
    path = folder / "calls-00000.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def repeat_line(folder: Path) -> None:
    """Add a record that already exists."""
    path = folder / "calls-00000.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])


def link_part(folder: Path) -> None:
    """Put a link in a part's place."""
    (folder / "calls-00001.jsonl").rename(folder / "elsewhere")
    (folder / "calls-00001.jsonl").symlink_to(folder / "elsewhere")


DAMAGES: dict[str, tuple[Damage, str]] = {
    "flipped byte": (flip_byte, r"calls-00001\.jsonl was changed: its SHA-256 does not match"),
    "missing part": (
        lambda folder: (folder / "calls-00001.jsonl").unlink(),
        r"calls-00001\.jsonl is missing",
    ),
    "linked part": (link_part, r"calls-00001\.jsonl is missing"),
    "extra part": (
        lambda folder: (folder / "calls-00099.jsonl").touch(),
        r"calls-00099\.jsonl does not belong",
    ),
    "extra evaluations": (
        lambda folder: (folder / "evaluations-00000.parquet").touch(),
        r"evaluations-00000\.parquet does not belong to this export",
    ),
    "removed record": (drop_line, r"Records in .*: 49, but the manifest says 50"),
    "extra record": (repeat_line, r"Records in .*: 51, but the manifest says 50"),
    "cut record": (
        lambda folder: (folder / "calls-00000.jsonl").write_bytes(b'{"id":"a"'),
        r"calls-00000\.jsonl (can't be read|has 9 bytes)",
    ),
    "missing manifest": (lambda folder: (folder / "_manifest.json").unlink(), r"There is no _manifest\.json"),
    "broken manifest": (lambda folder: (folder / "_manifest.json").write_text("{"), "can't be decoded"),
    "foreign manifest": (
        lambda folder: (folder / "_manifest.json").write_text("{}"),
        "not the manifest of an export",
    ),
    "manifest of tomorrow": (
        lambda folder: (folder / "_manifest.json").write_text('{"manifest": 2}'),
        "its version is 2",
    ),
}


@pytest.mark.quick(4)
@pytest.mark.anyio
@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found_and_named(served: StandInServer, tmp_path: Path, damage: str) -> None:
    """Whatever was changed after the export, a sentence says which file and what."""
    await export(served, tmp_path / "out")
    do, said = DAMAGES[damage]
    do(tmp_path / "out")
    report = verify_export(tmp_path / "out")
    assert not report.ok
    assert any(re.search(said, problem) for problem in report.problems), report.problems


def change(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    """Return what changes one value of a manifest."""

    def do(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return do


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "records": (change("records", to=7), "total of records is 7, "),
    "bytes": (change("bytes", to=7), "total of bytes is 7, "),
    "records of a part": (change("parts", 0, "records", to=49), "those of its parts add up"),
    "size of a part": (change("parts", 0, "bytes", to=1), "but the manifest says 1."),
    "sum of a part": (change("parts", 0, "sha256", to="0" * 64), "SHA-256 does not match"),
    "records of a source": (change("sources", 0, "records", to=1), "those of its sources add up"),
    "received": (change("sources", 1, "received", to=1), "Source 1 (agent_version): 1 were received"),
    "verdict": (change("sources", 0, "verdict", to="incomplete"), "marks the export as complete"),
    "invented verdict": (change("sources", 0, "verdict", to="fine"), "has an unknown verdict: 'fine'"),
    "time": (change("sources", 0, "complete_as_of", to=None), "has no time up to which it is complete"),
    "complete": (change("complete", to=False), "marks the export as incomplete, but by its own entries"),
    "sources": (
        change("sources", 0, "source", to={"kind": "run_test"}),
        "are not the sources that were requested",
    ),
    "ids": (change("ids_sha256", to="0" * 64), "The ids in the part files were changed"),
    "path upwards": (change("parts", 0, "name", to="../calls-00000.jsonl"), "is not the name of a part"),
    "absolute path": (change("parts", 0, "name", to="/etc/passwd"), "'/etc/passwd', which is not the name"),
    "a part twice": (change("parts", 1, "name", to="calls-00000.jsonl"), "lists 'calls-00000.jsonl' twice"),
    "transcripts": (change("parameters", "transcripts", to=True), "whether transcripts were requested"),
    "recordings": (change("parameters", "recordings", to=True), "whether recordings were requested"),
    "base": (change("parameters", "since", to="abc"), "which earlier export it is based on"),
    "recordings folder": (change("recordings_folder", to="../.."), "not the name of a folder"),
}


@pytest.mark.quick(5)
@pytest.mark.anyio
@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_doctored_manifest_is_found(served: StandInServer, tmp_path: Path, forgery: str) -> None:
    """A changed manifest betrays itself by its digest, and by its figures where the digest was redone."""
    await export(served, tmp_path / "out")
    doctor, said = FORGERIES[forgery]
    manifest = read_manifest(tmp_path / "out")
    doctor(manifest)
    write_manifest(tmp_path / "out", manifest)
    problems = verify_export(tmp_path / "out").problems
    assert problems[0] == "_manifest.json was changed: its digest does not match its content."
    write_manifest(tmp_path / "out", redo_digest(manifest))
    problems = verify_export(tmp_path / "out").problems
    assert "_manifest.json was changed: its digest does not match its content." not in problems
    assert any(said in problem for problem in problems), problems


@pytest.mark.anyio
@pytest.mark.parametrize("format_", ["csv", "parquet"])
async def test_records_of_another_source_are_found(
    served: StandInServer, tmp_path: Path, format_: str
) -> None:
    """Where records name their source, the sum of pairs tells when one was put under another."""
    await export(served, tmp_path / "out", format=format_)
    manifest = read_manifest(tmp_path / "out")
    write_manifest(tmp_path / "out", redo_digest({**manifest, "pairs_sha256": "0" * 64}))
    (problem,) = verify_export(tmp_path / "out").problems
    assert "The sources of ids in the part files were changed" in problem


@pytest.mark.anyio
async def test_a_removed_record_is_found_with_all_sums_redone(served: StandInServer, tmp_path: Path) -> None:
    """Whoever takes a record out and mends every count still has the sum of the ids against them."""
    await export(served, tmp_path / "out")
    drop_line(tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    content = (tmp_path / "out" / "calls-00000.jsonl").read_bytes()
    lost = manifest["parts"][0]["bytes"] - len(content)
    manifest["parts"][0] |= {
        "records": 49,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    manifest |= {"records": manifest["records"] - 1, "bytes": manifest["bytes"] - lost}
    manifest["sources"][0]["records"] -= 1
    manifest["sources"][0]["received"] -= 1
    write_manifest(tmp_path / "out", redo_digest(manifest))
    (problem,) = verify_export(tmp_path / "out").problems
    assert "The ids in the part files were changed" in problem


@pytest.mark.anyio
async def test_an_unfinished_export_is_called_so(served: StandInServer, tmp_path: Path) -> None:
    """Without a manifest there is nothing to verify; the sentence says what to do."""
    async with open_session(served) as session:
        await interrupt(session, all_lists(served), tmp_path / "out")
    (problem,) = verify_export(tmp_path / "out").problems
    assert problem == "There is no _manifest.json. The export is not finished: run it again."


def test_a_directory_that_can_not_be_read_is_an_error(tmp_path: Path) -> None:
    """That is no finding about an export."""
    with pytest.raises(ExportError, match=r"Can't read .*nowhere: No such file"):
        verify_export(tmp_path / "nowhere")
