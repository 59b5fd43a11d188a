"""Exports as other programs read them: each by the line that the docs give, or that anybody would try."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from futureagi_async import RunTestCalls, verify_export
from futureagi_async.export import export_calls
from futureagi_async.testing import StandInServer
from tests.support.exports import (
    all_lists,
    export,
    names_in,
    read_manifest,
    redo_digest,
)
from tests.support.sessions import open_session, read_body, respond
from tests.support.slow import slow

duckdb = pytest.importorskip("duckdb")
pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
parquet = pytest.importorskip("pyarrow.parquet")

CALLS: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pandas.read_parquet("out")["id"].tolist(),
    "pyarrow": lambda: parquet.read_table("out")["id"].to_pylist(),
    "polars": lambda: polars.read_parquet("out/*.parquet")["id"].to_list(),
    "polars, lazily": lambda: polars.scan_parquet("out/*.parquet").collect()["id"].to_list(),
    "duckdb": lambda: [id_ for (id_,) in duckdb.sql("SELECT id FROM 'out/*.parquet'").fetchall()],
}
EVALUATIONS: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pandas.read_parquet("out/_evaluations")["call_id"].tolist(),
    "pyarrow": lambda: parquet.read_table("out/_evaluations")["call_id"].to_pylist(),
    "polars": lambda: polars.read_parquet("out/_evaluations/")["call_id"].to_list(),
    "duckdb": lambda: [
        id_ for (id_,) in duckdb.sql("SELECT call_id FROM 'out/_evaluations/*.parquet'").fetchall()
    ],
}


@pytest.mark.quick(2)
@pytest.mark.anyio
@pytest.mark.parametrize("reader", CALLS)
async def test_a_directory_is_a_table_of_calls(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """A reader that is given the directory finds each call once, and no evaluation or manifest."""
    report = await export(served, tmp_path / "out", format="parquet")
    monkeypatch.chdir(tmp_path)
    ids = CALLS[reader]()
    expected = [row for path in report.files[::2] for row in parquet.read_table(path)["id"].to_pylist()]
    assert sorted(ids) == sorted(expected)
    assert len(ids) == report.records > 50


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("reader", EVALUATIONS)
async def test_evaluations_are_a_table_of_their_own(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """Their folder is a table to the same readers."""
    report = await export(served, tmp_path / "out", format="parquet")
    monkeypatch.chdir(tmp_path)
    ids = EVALUATIONS[reader]()
    assert len(ids) == sum(parquet.read_metadata(path).num_rows for path in report.files[1::2]) > 50
    assert set(ids) <= set(CALLS[reader]())


@pytest.mark.anyio
@pytest.mark.parametrize("reader", ["duckdb", *slow("pandas", "pyarrow")])
async def test_an_incomplete_export_can_be_read_too(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """What is kept for the next run is no part of the table."""
    served.fail(served.agent_versions[0][0], status=500, times=1000)
    report = await export(served, tmp_path / "out", format="parquet")
    assert not report.complete
    assert (tmp_path / "out" / ".export" / "index.db").exists()
    monkeypatch.chdir(tmp_path)
    assert len(CALLS[reader]()) == report.records > 0


def make_former(folder: Path) -> None:
    """Name things in a directory as versions up to 0.1 did."""
    manifest = read_manifest(folder)
    for part in manifest["parts"]:
        (folder / part["name"]).rename(folder / Path(part["name"]).name)
        part["name"] = Path(part["name"]).name
    if (folder / "_evaluations").exists():
        (folder / "_evaluations").rmdir()
    (folder / "_manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(redo_digest(manifest)))


@pytest.mark.anyio
async def test_former_names_are_read_and_go_when_they_are_replaced(
    served: StandInServer, tmp_path: Path
) -> None:
    """A directory of an earlier version verifies, is finished, is a base, and is replaced without a trace."""
    first = await export(served, tmp_path / "out", format="parquet")
    make_former(tmp_path / "out")
    assert verify_export(tmp_path / "out").ok
    assert verify_export(tmp_path / "out" / "manifest.json").ok
    again = await export(served, tmp_path / "out", format="parquet")
    assert again.already_finished
    assert again.manifest == tmp_path / "out" / "manifest.json"
    for base in ("out", "out/manifest.json", "out/_manifest.json"):
        update = await export(served, tmp_path / f"since-{Path(base).stem}", since=tmp_path / base)
        assert all(update.changed_since)
    replaced = await export(served, tmp_path / "out", format="parquet", resume=False)
    assert replaced.records == first.records
    calls = {path.name for path in replaced.files if path.name.startswith("calls")}
    assert names_in(tmp_path / "out") == {"_manifest.json", "_evaluations", *calls}
    assert verify_export(tmp_path / "out").ok
    assert all(
        (await export(served, tmp_path / "new", since=tmp_path / "out" / "manifest.json")).changed_since
    )


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_incomplete_export_with_former_names_is_finished(
    served: StandInServer, tmp_path: Path
) -> None:
    """Where an earlier version left something undone, what is done now takes its place."""
    served.fail(served.agent_versions[0][0], status=500, times=1000)
    await export(served, tmp_path / "out", format="parquet")
    make_former(tmp_path / "out")
    served.clear_faults()
    report = await export(served, tmp_path / "out", format="parquet")
    assert (report.complete, report.resumed) == (True, 1)
    assert {name for name in names_in(tmp_path / "out") if not name.startswith("calls-")} == {
        "_manifest.json",
        "_evaluations",
    }
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
async def test_evaluations_go_with_an_export_that_has_none(served: StandInServer, tmp_path: Path) -> None:
    """Replaced by JSON Lines, a directory keeps no folder of evaluations."""
    await export(served, tmp_path / "out", format="parquet")
    report = await export(served, tmp_path / "out", resume=False)
    assert names_in(tmp_path / "out") == {"_manifest.json", *(path.name for path in report.files)}


@pytest.mark.anyio
async def test_a_part_of_evaluations_that_was_added_or_removed_is_found(
    served: StandInServer, tmp_path: Path
) -> None:
    """Verifying looks into their folder as it does into the directory, and follows no link there."""
    await export(served, tmp_path / "out", format="parquet")
    folder = tmp_path / "out" / "_evaluations"
    (folder / "evaluations-00099.parquet").touch()
    assert verify_export(tmp_path / "out").problems == (
        (
            "_evaluations/evaluations-00099.parquet does not belong to this export: "
            "its manifest does not list it."
        ),
    )
    (folder / "evaluations-00099.parquet").unlink()
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    problems = verify_export(tmp_path / "out").problems
    assert "_evaluations/evaluations-00000.parquet is missing." in problems


READ_CSV: dict[str, Callable[[Path], Any]] = {
    "pandas": lambda path: pandas.read_csv(path)["overall_score"].tolist(),
    "polars": lambda path: polars.read_csv(path)["overall_score"].to_list(),
    "duckdb": lambda path: [
        score for (score,) in duckdb.sql(f"SELECT overall_score FROM '{path}'").fetchall()
    ],
}


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("reader", READ_CSV)
async def test_csv_of_whole_numbers_first_is_read(served: StandInServer, tmp_path: Path, reader: str) -> None:
    """Two hundred scores that are whole numbers, then one that is none, are a column of doubles."""
    run_test = served.run_test_ids[2]
    path = f"/simulate/run-tests/{run_test}/call-executions/"
    page = read_body(served, f"{path}?page=1&limit=100")
    row = page["results"][0]
    row["eval_outputs"] = {"e": {"name": "Tone", "value": 7, "type": "score"}}
    scores = [*[32] * 200, 25.6]
    page["results"] = [{**row, "id": str(uuid4()), "overall_score": score} for score in scores]
    page["results"][-1]["eval_outputs"] = {"e": {"name": "Tone", "value": 7.5, "type": "score"}}
    respond(served, path, {**page, "count": len(scores), "next": None, "total_pages": 1}, times=100)
    async with open_session(served) as session:
        report = await export_calls(session, RunTestCalls(run_test), tmp_path / "c.csv", page_size=1000)
    assert report.records == len(scores)
    assert sorted(READ_CSV[reader](report.path)) == sorted(scores)
    frame = polars.read_csv(report.path)
    assert frame["eval:Tone"].dtype == frame["overall_score"].dtype == polars.Float64
    assert frame["source_index"].dtype == frame["transcript_turns"].dtype == polars.Int64


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("reader", [*READ_CSV])
async def test_csv_of_all_lists_is_read(served: StandInServer, tmp_path: Path, reader: str) -> None:
    """The stand-in's calls, of all kinds of lists, are read without naming any type."""
    async with open_session(served) as session:
        report = await export_calls(session, all_lists(served), tmp_path / "c.csv", ordered=True)
    assert len(READ_CSV[reader](report.path)) == report.records > 50


@pytest.mark.slow
@pytest.mark.anyio
async def test_many_parts_need_few_open_files(served: StandInServer, tmp_path: Path) -> None:
    """However many files records are read from, few are open at once, and all records are written."""
    import resource

    opened = len(list(Path("/proc/self/fd").iterdir()))  # noqa: ASYNC240
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with open_session(served, max_in_flight=1) as session:
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 20, hard))
        try:
            report = await export_calls(
                session, all_lists(served), tmp_path / "out", part_rows=2, ordered=True, format="csv"
            )
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(report.files) > 50
    assert verify_export(tmp_path / "out").ok
