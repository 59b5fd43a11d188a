"""`summarise`: figures equal those that DuckDB and numpy compute apart; nothing missing is a zero."""

import json
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import (
    CallExecution,
    EvalOutput,
    ExportError,
    FetchResult,
    RunTestCalls,
    Scenario,
    export_calls,
    fetch_table,
)
from futureagi_async.analysis import Summary, SummaryBuilder, summarise
from futureagi_async.analysis.measures import EXTRA, FIELDS, MEASURES
from futureagi_async.testing import StandInServer
from tests.support.figures import make_call, passing, report, scored
from tests.support.sessions import open_session
from tests.support.slow import slow

pytestmark = pytest.mark.anyio
Dialect = Literal["served", "documented"]
DIALECTS: tuple[Dialect, ...] = ("served", "documented")
FORMATS: Mapping[str, Mapping[str, Any]] = {
    "lines": {"format": "jsonl"},
    "normalised lines": {"format": "jsonl", "normalised": True},
    "csv": {"format": "csv"},
    "parquet": {"format": "parquet"},
}


def run_tests(server: StandInServer) -> list[RunTestCalls]:
    """Return the sample run tests: no call is in two of them."""
    return list(map(RunTestCalls, server.run_test_ids))


async def exported(dialect: Dialect, folder: Path, **options: Any) -> Summary:
    """Export the sample run tests into a folder, and return what its calls say as they are read."""
    with StandInServer(dialect=dialect) as server:
        async with open_session(server) as session:
            result = await session.fetch_calls(run_tests(server))
            await export_calls(session, run_tests(server), folder, **options)
            return summarise(result)


def without_place(summary: Summary) -> dict[str, Any]:
    """Return all figures, without what says which read they are of."""
    found = summary.to_dict()
    return {name: value for name, value in found.items() if name not in ("label", "complete_as_of")}


@pytest.mark.quick(1)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_measures_are_those_of_duckdb(dialect: Dialect, tmp_path: Path) -> None:
    """n, mean, median and percentiles of each measure, over all calls and by scenario."""
    summary = await exported(dialect, tmp_path, format="parquet")
    calls = f"(SELECT * FROM '{tmp_path}/calls-*.parquet' WHERE NOT is_snapshot)"
    names = [name for name in FIELDS if summary.measures[name].n]
    assert len(names) > (8 if dialect == "served" else 2)
    for name in FIELDS:
        columns = (
            f"count({name}), avg({name}), quantile_cont({name}, 0.5), "
            f"quantile_cont({name}, 0.05), quantile_cont({name}, 0.95)"
        )
        rows = duckdb.sql(f"SELECT {columns}, scenario_name FROM {calls} GROUP BY scenario_name").fetchall()
        by_name = {part.name: part.measures[name] for part in summary.scenarios}
        overall = duckdb.sql(f"SELECT {columns} FROM {calls}").fetchall()
        pairs = [(overall[0], summary.measures[name]), *((row[:5], by_name[row[5]]) for row in rows)]
        assert overall[0][0] + summary.measures[name].missing == summary.calls
        for expected, found in pairs:
            assert expected[0] == found.n
            figures = [found.mean, found.median, found.p5, found.p95]
            assert [value is None for value in expected[1:]] == [value is None for value in figures]
            assert found.n == 0 or expected[1:] == pytest.approx(tuple(figures), rel=1e-12)


@pytest.mark.quick(1)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_evaluations_are_those_of_duckdb(dialect: Dialect, tmp_path: Path) -> None:
    """Pass rates, mean scores, choices, and what has no result, of each evaluation by its id."""
    summary = await exported(dialect, tmp_path, format="parquet")
    rows = duckdb.sql(
        f"""
        SELECT evaluation_id,
          count(*) FILTER (fine AND value_text = 'Passed'),
          count(*) FILTER (fine AND value_text IN ('Passed', 'Failed')),
          avg(score) FILTER (fine), count(score) FILTER (fine),
          count(*) FILTER (pending), count(*) FILTER (skipped), count(*) FILTER (error AND NOT skipped),
          count(*) FILTER (fine AND type = 'choices' AND value LIKE '%Calm%'),
          count(*) FILTER (fine AND type = 'choices' AND value IS NOT NULL AND value != 'null')
        FROM (
          SELECT e.*, NOT (e.pending OR e.skipped OR e.error) AS fine,
            coalesce(e.value_number, try_cast(json_extract(e.value, '$.score') AS DOUBLE)) AS score
          FROM '{tmp_path}/_evaluations/evaluations-*.parquet' e JOIN '{tmp_path}/calls-*.parquet' c
            ON c.id = e.call_id AND c.source_index = e.source_index
          WHERE NOT c.is_snapshot
        ) GROUP BY evaluation_id
        """
    ).fetchall()
    assert {row[0] for row in rows} == summary.evaluations.keys()
    kinds = set()
    for id_, passed, judged, mean, number, pending, skipped, failed, calm, chosen in rows:
        found = summary.evaluations[id_]
        assert (found.pending, found.skipped, found.failed) == (pending, skipped, failed)
        if found.passed is not None:
            assert (found.passed.count, found.passed.n) == (passed, judged)
            kinds.add("passed")
        if found.scores is not None:
            assert found.scores.n == number
            assert found.scores.mean == pytest.approx(mean, rel=1e-12)
            kinds.add("scores")
        if found.choices:
            assert all(share.n == chosen for share in found.choices.values())
            assert "Calm" not in found.choices or found.choices["Calm"].count == calm
            kinds.add("choices")
    assert kinds == {"passed", "scores", "choices"}


@pytest.mark.quick(3)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", FORMATS)
async def test_exports_of_all_formats_say_the_same(dialect: Dialect, name: str, tmp_path: Path) -> None:
    """A directory of any format has the figures of the calls as they are read, and its manifest's verdict."""
    folder = tmp_path / "out"
    summary = await exported(dialect, folder, part_rows=100, **FORMATS[name])
    read = summarise(folder)
    assert without_place(read) == without_place(summary)
    assert read.complete
    assert read.label == "out"
    assert read.calls > 300
    assert read.snapshots > 0


@pytest.mark.quick(1)
@pytest.mark.parametrize("columns", [None, ["id", "status", "overall_score", "scenario_name", "is_snapshot"]])
async def test_a_table_says_the_same(columns: list[str] | None) -> None:
    """A `CallsTable` has the figures of its calls; without their column, evaluations are the long table's."""
    with StandInServer() as server:
        async with open_session(server) as session:
            calls = summarise(await session.fetch_calls(run_tests(server)))
            table = await fetch_table(session, run_tests(server), columns=columns)
    read = summarise(table)
    if columns is None:
        assert without_place(read) == without_place(calls)
    assert read.measures["overall_score"].to_dict() == calls.measures["overall_score"].to_dict()
    assert [each.to_dict() for each in read.evaluations.values()] == [
        each.to_dict() for each in calls.evaluations.values()
    ]
    assert read.verdict.completeness == "complete"


async def test_a_stream_needs_no_calls_kept() -> None:
    """Calls that are added one by one make the summary of all, with the report's verdict."""
    with StandInServer() as server:
        builder = SummaryBuilder()
        async with open_session(server) as session:
            async with session.stream_calls(run_tests(server)) as stream:
                async for call in stream:
                    builder.add(call)
            expected = summarise(await session.fetch_calls(run_tests(server)))
        assert without_place(builder.finish(stream.report)) == without_place(expected)


def test_measures_are_the_models_numbers() -> None:
    """Each number of the model is a measure, and nothing else but what is in extra."""
    numbers = {field.name for field in attrs.fields(CallExecution) if field.type == float | None}
    assert numbers == FIELDS.keys()
    assert list(MEASURES) == [*FIELDS, *EXTRA]


@given(st.lists(st.none() | st.floats(-1e300, 1e300), max_size=40))
def test_what_is_missing_is_no_zero(values: list[float | None]) -> None:
    """Figures are numpy's over the values that are there; without any there is none."""
    found = summarise(scored(values)).measures["overall_score"]
    there = np.array([value for value in values if value is not None])
    assert (found.n, found.missing) == (len(there), len(values) - len(there))
    if not len(there):
        assert (found.mean, found.median, found.p5, found.p95) == (None,) * 4
        return
    expected = [np.sort(there).mean(), *np.quantile(there, (0.5, 0.05, 0.95))]
    assert [found.mean, found.median, found.p5, found.p95] == expected


def test_numbers_beyond_doubles_are_missing() -> None:
    """A whole number that no double holds is no infinity, and leaves the others alone."""
    found = summarise(scored([10**400, 3.0])).measures["overall_score"]
    assert (found.n, found.missing, found.mean) == (1, 1, 3.0)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (EvalOutput("e", "N", "Passed", "Pass/Fail"), ("passed", 1)),
        (EvalOutput("e", "N", "failed", "pass_fail"), ("passed", 0)),
        (EvalOutput("e", "N", True, None), ("passed", 1)),
        (EvalOutput("e", "N", 1, "Pass/Fail"), ("passed", 1)),
        (EvalOutput("e", "N", 0.5, "Pass/Fail"), ("unreadable", 1)),
        (EvalOutput("e", "N", "perhaps", "Pass/Fail"), ("unreadable", 1)),
        (EvalOutput("e", "N", 0, "score"), ("score", 0.0)),
        (EvalOutput("e", "N", 7, None), ("score", 7.0)),
        (EvalOutput("e", "N", {"score": 0.25, "explanation": "x"}, "score"), ("score", 0.25)),
        (EvalOutput("e", "N", "0.5", "score"), ("unreadable", 1)),
        (EvalOutput("e", "N", 10**400, "score"), ("unreadable", 1)),
        (EvalOutput("e", "N", ["a", "b", "a"], "choices"), ("choices", ["a", "b"])),
        (EvalOutput("e", "N", {"choice": "a"}, "choices"), ("choices", ["a"])),
        (EvalOutput("e", "N", "Passed", "choices"), ("choices", ["Passed"])),
        (EvalOutput("e", "N", None, "choices"), ("unreadable", 1)),
        (EvalOutput("e", "N", "warm", "invented since"), ("choices", ["warm"])),
        (EvalOutput("e", None, "legacy", None), ("unreadable", 1)),
        (EvalOutput("e", "N", None, None, pending=True), ("pending", 1)),
        (EvalOutput("e", "N", 5, "score", skipped=True), ("skipped", 1)),
        (EvalOutput("e", "N", 5, "score", error="timed out"), ("failed", 1)),
        (EvalOutput("e", "N", 5, "score", None, "Failed"), ("failed", 1)),
    ],
)
def test_results_are_read_by_their_type(output: EvalOutput, expected: tuple[str, Any]) -> None:
    """Each shape of a result counts as what it is: pending, skipped and failed ones are no zeros."""
    (found,) = summarise([make_call(1, evaluations={"e": output})]).evaluations.values()
    kind, value = expected
    assert found.n == (kind in ("passed", "score", "choices"))
    assert [found.pending, found.skipped, found.failed, found.unreadable] == [
        int(kind == name) for name in ("pending", "skipped", "failed", "unreadable")
    ]
    if kind == "passed":
        assert found.passed is not None
        assert (found.passed.count, found.passed.n) == (value, 1)
    elif kind == "score":
        assert found.scores is not None
        assert found.scores.mean == value
    else:
        assert sorted(found.choices) == (value if kind == "choices" else [])


def test_equal_names_are_kept_apart() -> None:
    """Two evaluations of one name have figures of their own."""
    summary = summarise([*passing([True] * 3, id_="a"), *passing([False] * 2, first=10, id_="b")])
    assert {key: found.pass_rate for key, found in summary.evaluations.items()} == {"a": 1.0, "b": 0.0}
    assert {found.name for found in summary.evaluations.values()} == {"Polite"}


def test_snapshots_and_copies_are_in_no_figure() -> None:
    """A state before a rerun is counted apart, and a call of two lists once."""
    calls = scored([1.0, 2.0])
    calls += [make_call(9, is_snapshot=True, overall_score=9.0), make_call(0, overall_score=5.0)]
    summary = summarise(calls)
    assert (summary.calls, summary.snapshots, summary.duplicates) == (2, 1, 1)
    assert summary.measures["overall_score"].mean == 1.5


def test_a_scenario_is_one_whatever_a_list_tells_of_it() -> None:
    """Calls that name a scenario by its name alone are with those that give its id; others are at the end."""
    calls = [
        make_call(1, scenario=None),
        make_call(2, scenario="Refund"),
        make_call(3, scenario=None),
    ]
    calls[0].scenario = Scenario(None, "Refund")
    summary = summarise(calls)
    assert [(part.name, part.calls) for part in summary.scenarios] == [("Refund", 2), (None, 1)]
    assert summary.scenarios[0].id == "id of Refund"


def test_words_are_counted_to_an_end() -> None:
    """Words are counted, what is missing apart; endless different ones don't fill the memory."""
    calls = [make_call(number, ended_reason=f"reason {number}" * 90) for number in range(1_200)]
    calls += [make_call(2_000, status=None)]
    counts = summarise(calls).counts
    assert counts["status"].to_dict() == {"n": 1200, "missing": 1, "other": 0, "counts": {"completed": 1200}}
    reasons = counts["ended_reason"]
    assert (reasons.n, reasons.missing, len(reasons.words), reasons.other) == (1200, 1, 1000, 200)
    assert max(map(len, reasons.words)) == 200


def test_verdicts_are_carried_and_shown() -> None:
    """What a report says of completeness is in the summary, its text, and its JSON."""
    calls = scored([1.0])
    unknown = summarise(calls)
    complete = summarise(FetchResult(calls, report()))
    incomplete = summarise(calls, report=report(complete=False, reason="Page 3 failed."))
    assert [each.verdict.completeness for each in (unknown, complete, incomplete)] == [
        "unknown",
        "complete",
        "incomplete",
    ]
    assert repr(incomplete).endswith(": 1 call, incomplete>")
    assert incomplete.to_dict()["completeness"] == "incomplete"
    assert "Page 3 failed." in incomplete.verdict.reasons[0]
    assert not unknown.complete


def test_evaluations_that_cannot_be_read_make_it_incomplete() -> None:
    """A record whose evaluations are of no known shape is counted, and no figure hides it."""
    calls = scored([1.0, 2.0])
    calls[0].misfits = {"eval_outputs": 5}
    summary = summarise(calls, report=report())
    assert summary.verdict.completeness == "incomplete"
    assert "evaluations of 1 call can't be read" in summary.verdict.reasons[-1]
    assert summary.measures["overall_score"].n == 2


async def test_an_export_of_changes_is_not_all(tmp_path: Path) -> None:
    """A directory that holds what changed since another one says that it is incomplete."""
    with StandInServer() as server:
        async with open_session(server) as session:
            source = run_tests(server)[2]
            await export_calls(session, source, tmp_path / "all")
            await export_calls(session, source, tmp_path / "changes", since=tmp_path / "all")
    assert summarise(tmp_path / "changes").verdict.completeness == "incomplete"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lines", *slow("csv", "parquet")])
async def test_memory_does_not_grow_with_texts(name: str, tmp_path: Path) -> None:
    """Of an export with 40 MB of text, no more than a few records are in memory at a time."""
    with StandInServer() as server:
        run_test = server.add_run_test(800)
        for call in server.run_test_rows(run_test):
            server.alter_call(call, {"call_summary": f"{call} " * 1_300})
        async with open_session(server) as session:
            await export_calls(session, RunTestCalls(run_test), tmp_path, **FORMATS[name])
    summarise(tmp_path)  # so that what is imported is
    tracemalloc.start()
    try:
        assert summarise(tmp_path).calls == 800
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 15_000_000


@pytest.mark.parametrize("damage", ["missing", "cut", "no manifest", "no export"])
async def test_damaged_exports_are_refused(damage: str, tmp_path: Path) -> None:
    """A part that is missing or shorter, and a directory without an export, is an error that names it."""
    with StandInServer() as server:
        async with open_session(server) as session:
            await export_calls(session, run_tests(server)[2], tmp_path / "out")
    part = tmp_path / "out" / "calls-00000.jsonl"
    if damage == "missing":
        part.unlink()
    elif damage == "cut":
        part.write_bytes(part.read_bytes()[:-5])
    elif damage == "no manifest":
        (tmp_path / "out" / "_manifest.json").unlink()
    with pytest.raises(ExportError, match="nowhere" if damage == "no export" else "out"):
        summarise(tmp_path / ("nowhere" if damage == "no export" else "out"))


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        (5, {}, TypeError),
        (b"out", {}, TypeError),
        (None, {}, TypeError),
        (["call"], {}, TypeError),
        ("", {}, ValueError),
        ("s3://bucket/out", {}, ValueError),
        ([], {"report": "complete"}, TypeError),
        ([], {"label": 5}, TypeError),
    ],
)
def test_wrong_arguments_are_refused(data: Any, options: Mapping[str, Any], error: type[Exception]) -> None:
    """What can't be summarised is one clear error."""
    with pytest.raises(error):
        summarise(data, **options)


def test_nothing_is_no_figure() -> None:
    """Of no calls every figure is missing, and JSON can be made of it."""
    summary = summarise([])
    assert summary.calls == 0
    assert all(measure.mean is None for measure in summary.measures.values())
    assert json.loads(json.dumps(summary.to_dict()))["measures"] == {}
    assert summary.low_scores() == ()


def test_low_scores_come_first() -> None:
    """The calls of the lowest scores are named, the lowest first, and none without a score."""
    found = summarise(scored([3.0, None, 1.0, 2.0])).low_scores(2)
    assert [(call.score, call.reason, call.scenario) for call in found] == [
        (1.0, "low score", "Refund"),
        (2.0, "low score", "Refund"),
    ]
    assert len(summarise(scored([None])).low_scores()) == 0
