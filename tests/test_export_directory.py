"""Directories of parts with a manifest: what they hold, when they are finished, and what is not touched."""

import hashlib
import json
from pathlib import Path

import pytest

from futureagi_async import ExportError, RunTestCalls
from futureagi_async.export import export_calls, verify_export
from futureagi_async.testing import StandInServer
from tests.exporting import all_lists, export, interrupt, names_in, read_manifest, redo_digest
from tests.servers import open_session, read_body, respond


@pytest.mark.anyio
@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
async def test_a_directory_holds_parts_and_a_manifest(
    server: StandInServer, tmp_path: Path, format_: str
) -> None:
    """Every record is in a part, no part has more than asked for, and the manifest tells what is where."""
    report = await export(server, tmp_path / "out", format=format_)
    manifest = read_manifest(tmp_path / "out")
    calls = [part for part in manifest["parts"] if part["name"].startswith("calls-")]
    assert [part["records"] for part in calls[:-1]] == [50] * (len(calls) - 1)
    assert sum(part["records"] for part in calls) == manifest["records"] == report.records
    assert names_in(tmp_path / "out") == {"manifest.json", *(path.name for path in report.files)}
    assert [source["verdict"] for source in manifest["sources"]] == ["complete"] * 3
    assert [source["records"] for source in manifest["sources"]] == [each.received for each in report.fetch]
    assert manifest["complete"] is report.complete is True
    checked = verify_export(tmp_path / "out")
    assert (checked.problems, checked.complete, checked.records) == ((), True, report.records)


@pytest.mark.anyio
async def test_the_digest_is_what_the_documents_say(served: StandInServer, tmp_path: Path) -> None:
    """Anybody can compute the manifest's own digest, with the tools of any language."""
    await export(served, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert redo_digest(manifest) == manifest


@pytest.mark.anyio
async def test_the_sums_of_ids_are_what_the_documents_say(served: StandInServer, tmp_path: Path) -> None:
    """The sum of the ids is that of their sorted lines, the one of pairs names the sources' places."""
    report = await export(served, tmp_path / "out", normalised=True)
    rows = [json.loads(line) for path in report.files for line in path.read_bytes().splitlines()]
    pairs = sorted((row["source"]["index"], row["id"]) for row in rows)
    manifest = read_manifest(tmp_path / "out")
    ids = "".join(f"{id_}\n" for id_ in sorted(row["id"] for row in rows))
    assert manifest["ids_sha256"] == hashlib.sha256(ids.encode()).hexdigest()
    lines = "".join(f"{source} {id_}\n" for source, id_ in pairs)
    assert manifest["pairs_sha256"] == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.anyio
async def test_an_empty_list_is_an_empty_part(served: StandInServer, tmp_path: Path) -> None:
    """No calls at all are an export too, which can be verified, and that no source at all is given."""
    async with open_session(served) as session:
        source = RunTestCalls(served.run_test_ids[0], search="no such scenario")
        for name, sources in (("out", [source]), ("none", [])):
            report = await export_calls(session, sources, tmp_path / name)
            assert (report.records, report.complete, len(report.files)) == (0, True, 1)
            assert verify_export(tmp_path / name).ok


@pytest.mark.anyio
@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
async def test_one_list_given_twice_is_read_twice(
    served: StandInServer, tmp_path: Path, format_: str
) -> None:
    """Equal sources are written once each, and the manifest's sums still fit the files."""
    source = RunTestCalls(served.run_test_ids[2])
    async with open_session(served) as session:
        report = await export_calls(session, [source, source], tmp_path / "out", format=format_)
    assert report.records == 2 * len(served.run_test_rows(source.run_test_id))
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
async def test_a_finished_export_is_left_as_it_is(served: StandInServer, tmp_path: Path) -> None:
    """The same export again reads nothing, says so, and gives the same report."""
    first = await export(served, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    served.clear_requests()
    again = await export(served, tmp_path / "out")
    assert not served.requests
    assert again.already_finished
    assert (again.fetch, again.records, again.files) == (first.fetch, first.records, first.files)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.anyio
async def test_a_finished_export_of_something_else_is_not_touched(
    served: StandInServer, tmp_path: Path
) -> None:
    """Other parameters are refused with what differs; with ``resume=False`` it is replaced, all of it."""
    await export(served, tmp_path / "out", part_rows=20)
    with pytest.raises(ExportError, match=r"finished export with other parameters: part_rows was 20"):
        await export(served, tmp_path / "out", part_rows=40)
    report = await export(served, tmp_path / "out", part_rows=1_000, resume=False)
    assert names_in(tmp_path / "out") == {"calls-00000.jsonl", "manifest.json"}
    assert not report.already_finished
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
async def test_a_replacement_that_is_interrupted_leaves_the_old_export(
    served: StandInServer, tmp_path: Path
) -> None:
    """Until everything was read anew, the old export stands whole; afterwards nothing of it is left."""
    old = await export(served, tmp_path / "out", part_rows=20)
    async with open_session(served) as session:
        sources = all_lists(served)
        await interrupt(session, sources, tmp_path / "out", resume=False, format="csv")
        assert verify_export(tmp_path / "out").ok
        assert verify_export(tmp_path / "out").records == old.records
        await export_calls(session, sources, tmp_path / "out", format="csv")
    assert names_in(tmp_path / "out") == {"calls-00000.csv", "manifest.json"}


@pytest.mark.anyio
@pytest.mark.parametrize("resume", [True, False])
async def test_files_of_others_are_not_written_over(
    served: StandInServer, tmp_path: Path, resume: bool
) -> None:
    """Parts without a manifest, or a manifest that is none of ours, are refused before any request."""
    (tmp_path / "calls-00003.jsonl").touch()
    with pytest.raises(ExportError, match=r"calls-00003\.jsonl is there already"):
        await export(served, tmp_path, resume=resume)
    (tmp_path / "manifest.json").write_text('{"name": "an app"}')
    with pytest.raises(ExportError, match="no export's manifest"):
        await export(served, tmp_path, resume=resume)
    assert not served.requests
    assert names_in(tmp_path) == {"calls-00003.jsonl", "manifest.json"}


@pytest.mark.anyio
async def test_a_finished_export_that_lost_a_part_says_so(served: StandInServer, tmp_path: Path) -> None:
    """It is not called finished, and not silently mended: somebody removed something."""
    report = await export(served, tmp_path / "out")
    report.files[1].unlink()
    with pytest.raises(ExportError, match=r"calls-00001\.jsonl is not as the export left it"):
        await export(served, tmp_path / "out")
    assert (await export(served, tmp_path / "out", resume=False)).complete


@pytest.mark.anyio
async def test_keys_are_nowhere(served: StandInServer, tmp_path: Path) -> None:
    """No file of an export, finished or not, holds the session's keys."""
    sources = all_lists(served)
    async with open_session(served) as session:
        await interrupt(session, sources, tmp_path / "unfinished", transcripts=True)
        await export_calls(session, sources, tmp_path / "finished", transcripts=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]  # noqa: ASYNC240
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        assert served.api_key.encode() not in content
        assert served.secret_key.encode() not in content


@pytest.mark.anyio
async def test_the_manifest_counts_values_that_no_column_holds(served: StandInServer, tmp_path: Path) -> None:
    """Nothing is changed silently: such a value is in the column misfits, and its call is counted."""
    run_test = served.run_test_ids[2]
    path = f"/simulate/run-tests/{run_test}/call-executions/"
    page = read_body(served, f"{path}?page=1&limit=100")
    page["results"][0]["total_tokens"] = 2**60 + 1
    respond(served, path, page, times=100)
    async with open_session(served) as session:
        report = await export_calls(session, RunTestCalls(run_test), tmp_path / "out", format="parquet")
    assert report.complete
    parts = {part["name"]: part["misfits"] for part in read_manifest(tmp_path / "out")["parts"]}
    assert parts == {"calls-00000.parquet": 1, "evaluations-00000.parquet": 0}
    assert verify_export(tmp_path / "out").ok
