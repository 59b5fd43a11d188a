"""Values of undocumented types, from a server on a socket to lists, reports and the files of every format."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futureagi_async import (
    AgentVersionCalls,
    CallExecution,
    CallSource,
    DecodingError,
    FetchReport,
    RunTestCalls,
    Session,
    TestExecutionCalls,
)
from futureagi_async.export import export_calls, verify_export
from futureagi_async.testing import StandInServer
from tests.support.sessions import make_session, open_session, read_body, respond

pytestmark = pytest.mark.anyio

ROWS = 30
ALTERED = 3
"""Calls of each list that come with misfits."""

DRIFT: dict[str, Any] = {
    "session_id": 12345,
    "overall_score": "7.5",
    "is_snapshot": "yes",
    "created_at": "yesterday",
    "transcript": [
        {"role": "user", "content": 5, "start_time_seconds": 1},
        {"role": "assistant", "content": "Sure."},
    ],
}
VERSION_DRIFT: dict[str, Any] = {
    "overall_score": "7.5",
    "created_at": "yesterday",
    "duration_seconds": "61",
    "transcripts": DRIFT["transcript"],
}
"""What served version rows, which name things otherwise, can drift in."""


@pytest.fixture
def sources(server: StandInServer) -> list[CallSource]:
    """One list of each kind, in each of which some calls drifted."""
    execution = TestExecutionCalls(server.add_test_execution(ROWS))
    run_test = RunTestCalls(server.add_run_test(ROWS))
    version = AgentVersionCalls(*server.add_agent_version(ROWS))
    for call_id in drifted(server, run_test) + drifted(server, execution):
        server.alter_call(call_id, DRIFT)
    for call_id in drifted(server, version):
        names = DRIFT if server.dialect == "documented" else VERSION_DRIFT
        server.alter_call(call_id, {**names, "session_id": 12345} if names is DRIFT else names)
    return [run_test, version, execution]


def drifted(server: StandInServer, source: CallSource) -> list[str]:
    """Return the calls of a list that are altered: the first, one in its middle, and the last."""
    ids = rows(server, source)
    return [ids[0], ids[ROWS // 2], ids[-1]]


def rows(server: StandInServer, source: CallSource) -> list[str]:
    """Return the ids of a list."""
    if isinstance(source, RunTestCalls):
        return server.run_test_rows(source.run_test_id)
    if isinstance(source, AgentVersionCalls):
        return server.version_rows(source.agent_id, source.version_id)
    return server.test_execution_rows(source.test_execution_id)


def check_call(call: CallExecution) -> None:
    """Check that a drifted call lost what drifted, and nothing else."""
    names = {"session_id", "overall_score", "is_snapshot", "created_at", "duration"} & set(call.misfits)
    assert {"overall_score", "created_at"} <= names or call.raw.count(b'"created_at"') == 0
    for name in names:
        assert getattr(call, name) is None
    assert call.misfits["overall_score"] == "7.5"
    assert call.status
    assert call.scenario
    assert b'"overall_score":"7.5"' in call.raw
    if call.transcript:
        first, second = call.transcript
        assert (first.role, first.content, first.start_seconds) == ("user", None, 1)
        assert second.content == "Sure."
        assert call.misfits["transcript[0].content"] == 5


async def test_every_row_arrives_and_its_list_is_complete(
    server: StandInServer, sources: list[CallSource]
) -> None:
    """Of three kinds of lists, in both dialects, nothing is lost, and each report counts what drifted."""
    async with open_session(server) as session:
        result = await session.fetch_calls(sources)
    assert result.report.complete
    for source, report in zip(sources, result.report, strict=True):
        calls = {call.id: call for call in result.calls if call.source == source}
        assert sorted(calls) == sorted(rows(server, source))
        assert (report.received, report.misfits, report.failures) == (ROWS, ALTERED, ())
        altered = drifted(server, source)
        assert {call_id for call_id, call in calls.items() if call.misfits} == set(altered)
        for call_id in altered:
            check_call(calls[call_id])
    assert result.report.misfits == ALTERED * len(sources)


async def test_strictly_it_is_an_error_as_it_was(server: StandInServer, sources: list[CallSource]) -> None:
    """``strict=True`` raises with the path, or collects the records as failures, and completes no list."""
    async with open_session(server, strict=True) as session:
        with pytest.raises(DecodingError, match=r"\$\.results\[\d+\]\.") as caught:
            await session.fetch_calls(sources)
        assert caught.value.json_path is not None
        result = await session.fetch_calls(sources, on_error="collect")
        detail = drifted(server, sources[0])[0]
        with pytest.raises(DecodingError, match=r"\$\.[a-z_]+ of /simulate/call-executions/"):
            await session.get_call_execution(detail)
        (outcome,) = await session.fetch_call_executions([detail])
    assert isinstance(outcome.error, DecodingError)
    for report in result.report:
        assert (report.verdict, report.received, report.misfits) == ("incomplete", ROWS - ALTERED, 0)
        paths = [failure.json_path or "" for failure in report.failures if isinstance(failure, DecodingError)]
        assert len(paths) == len(report.failures) >= ALTERED
        assert all(path.startswith("$.results[") for path in paths)


async def test_a_misspelt_strictness_is_refused() -> None:
    """Whatever is no bool is no answer to the question."""
    with pytest.raises(TypeError, match="strict must be a bool, not str"):
        Session("key", "secret", strict="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("validate", ["lazy", "eager"])
async def test_eager_checks_count_nested_misfits_too(server: StandInServer, validate: Any) -> None:
    """A record whose nested part alone drifted arrives either way; it is counted where that was looked at."""
    source = RunTestCalls(server.add_run_test(5))
    first, *_ = server.run_test_rows(source.run_test_id)
    server.alter_call(first, {"transcript": [{"role": "user", "content": 5}]})
    async with open_session(server, validate=validate) as session:
        result = await session.fetch_calls(source)
    (report,) = result.report
    assert (report.verdict, report.received) == ("complete", 5)
    assert report.misfits == (1 if validate == "eager" else 0)
    (call,) = [call for call in result.calls if call.id == first]
    assert call.transcript is not None
    assert call.transcript[0].content is None
    assert call.misfits == {"transcript[0].content": 5}


async def test_a_sort_key_that_is_none_proves_nothing(served: StandInServer) -> None:
    """Every row arrives; one page still proves a short list, and pages side by side prove no long one."""
    short, long = (RunTestCalls(served.add_run_test(size, slim=True)) for size in (20, 1_500))
    for source in (short, long):
        for call_id in served.run_test_rows(source.run_test_id)[5:7]:
            served.alter_call(call_id, {"timestamp": "yesterday"})
    async with open_session(served) as session:
        result = await session.fetch_calls([short, long])
    one, other = result.report
    assert (one.verdict, one.received, one.misfits) == ("complete", 20, 2)
    assert (other.verdict, other.received, other.misfits) == ("incomplete", 1_500, 2)
    assert "The rows have no time of last change" in other.reason
    for call in result.calls:
        if call.misfits:
            assert (call.timestamp, call.misfits) == (None, {"timestamp": "yesterday"})


async def test_details_and_key_figures(server: StandInServer) -> None:
    """What is read by id keeps what drifted likewise."""
    call_id, execution = server.call_execution_ids()[0], server.test_execution_ids[0]
    server.alter_call(call_id, {"overall_score": {"value": 7.5}, "status": 5})
    server.alter_kpis(execution, {"avg_score": "7.5", "total_calls": 5.5, "is_inbound": "yes"})
    async with open_session(server) as session:
        (outcome,) = await session.fetch_call_executions([call_id])
        (kpis,) = await session.fetch_kpis([execution])
        whole = await session.get_kpis(server.test_execution_ids[1])
    call, figures = outcome.unwrap(), kpis.unwrap()
    assert (call.overall_score, call.status) == (None, None)
    assert call.misfits == {"overall_score": {"value": 7.5}, "status": 5}
    assert (figures.avg_score, figures.total_calls, figures.is_inbound) == (None, None, None)
    assert figures.misfits == {"avg_score": "7.5", "total_calls": 5.5, "is_inbound": "yes"}
    assert whole.misfits == {}


async def test_a_test_executions_own_facts(server: StandInServer) -> None:
    """A page of odd status, columns and number of pages still delivers its calls; but a count must be one."""
    execution = server.add_test_execution(5)
    path = f"/simulate/test-executions/{execution}/"
    body = read_body(server, path)
    odd = {"status": 5, "total_pages": "1", "column_order": [{"id": "a", "visible": 1}]}
    respond(server, path, body | odd)
    async with open_session(server) as session:
        page = await session.get_test_execution(execution)
        assert len(page.calls) == 5
        assert (page.status, page.total_pages) == (None, 1)
        assert page.column_order[0].visible is None
        assert page.misfits == {"status": 5, "total_pages": "1", "column_order[0].visible": 1}
        respond(server, path, body | odd | {"count": "5"})
        with pytest.raises(DecodingError) as caught:
            await session.get_test_execution(execution)
    assert caught.value.json_path == "$.count"


async def test_strictly_pages_and_figures_are_errors(served: StandInServer) -> None:
    """With ``strict`` the odd facts of a page, of groups and of key figures are errors with their path."""
    execution = served.add_test_execution(5)
    path = f"/simulate/test-executions/{execution}/"
    body = read_body(served, path)
    odd = ({"total_pages": "1"}, "$.total_pages"), ({"column_order": [{"id": 5}]}, "$.column_order[0].id")
    async with open_session(served, strict=True) as session:
        for changes, json_path in odd:
            respond(served, path, body | changes)
            with pytest.raises(DecodingError) as caught:
                await session.get_test_execution(execution)
            assert caught.value.json_path == json_path
            respond(served, path, {"count": 0, "results": []} | changes)
            with pytest.raises(DecodingError) as caught:
                await session.get_groups(execution, row_groups=["scenario"])
            assert caught.value.json_path == json_path
        served.alter_kpis(execution, {"avg_score": "7.5"})
        with pytest.raises(DecodingError) as caught:
            await session.get_kpis(execution)
        assert caught.value.json_path == "$.avg_score"


async def test_an_interrupted_read_goes_on_counting(served: StandInServer) -> None:
    """What was delivered with misfits before an interruption is in the report of the read that resumes it."""
    source = RunTestCalls(served.add_run_test(1_100, slim=True))
    ids = served.run_test_rows(source.run_test_id)
    for call_id in ids[::50]:
        served.alter_call(call_id, {"overall_score": "7.5"})
    checkpoints: list[bytes] = []
    got: list[CallExecution] = []
    async with open_session(served, max_in_flight=2) as session:
        async with session.stream_calls(source, page_size=50) as stream:
            async for step in stream.steps():
                checkpoints.append(step.checkpoint)
                got += step.page.calls
                if len(checkpoints) == 8:
                    break
        before = sum(bool(call.misfits) for call in got)
        async with session.stream_calls(source, page_size=50, resume=checkpoints) as stream:
            async for step in stream.steps():
                got += step.page.calls
    assert 0 < before < len(ids[::50])
    assert stream.report.complete
    assert stream.report.misfits == sum(bool(call.misfits) for call in got) == len(ids[::50])


@pytest.mark.parametrize("strict", [False, True])
async def test_an_ordered_stream_keeps_to_the_sessions_checks(served: StandInServer, strict: bool) -> None:
    """Calls that waited in a file are checked as those that did not."""
    source = RunTestCalls(served.add_run_test(5))
    first, *_ = served.run_test_rows(source.run_test_id)
    served.alter_call(first, {"transcript": [{"role": "user", "content": 5}]})
    async with (
        open_session(served, strict=strict) as session,
        session.stream_calls(source, ordered=True) as stream,
    ):
        calls = [call async for call in stream]
    (call,) = [call for call in calls if call.id == first]
    if strict:
        with pytest.raises(DecodingError, match="content"):
            _ = call.transcript
    else:
        assert call.transcript is not None
        assert call.misfits == {"transcript[0].content": 5}


YEARS = {"start_time": "0001-01-01T00:00:00+14:00", "session_id": True}


async def exported(
    server: StandInServer, sources: list[CallSource], target: Path, **options: Any
) -> FetchReport:
    """Export, check that everything is there, and return what was read."""
    async with make_session(server) as session:
        report = await export_calls(session, sources, target, **options)
        if report.manifest is not None:
            again = await export_calls(session, sources, target, **options)
            assert again.already_finished
            assert again.fetch == report.fetch
    assert report.complete
    assert report.records == ROWS * len(sources)
    assert report.fetch.misfits == ALTERED * len(sources)
    return report.fetch


async def test_lines_as_sent_keep_every_byte(
    server: StandInServer, sources: list[CallSource], tmp_path: Path
) -> None:
    """JSON Lines as sent hold the drifted values where the server put them."""
    await exported(server, sources, tmp_path / "calls.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_bytes().splitlines()]
    altered = [line for line in lines if line["overall_score"] == "7.5"]
    assert len(altered) == ALTERED * len(sources)
    for line in altered:
        assert line.get("session_id", 12345) == 12345
        assert "misfits" not in line


def check_misfits(found: list[dict[str, Any]], lists: int) -> None:
    """Compare what drifted records have in their column of misfits; of turns where the list sends some."""
    assert len(found) == ALTERED * lists
    assert {misfits["overall_score"] for misfits in found} == {"7.5"}
    turns = [misfits["transcript[0].content"] for misfits in found if "transcript[0].content" in misfits]
    assert turns == [5] * len(turns)
    assert len(turns) >= ALTERED


async def test_normalised_lines(server: StandInServer, sources: list[CallSource], tmp_path: Path) -> None:
    """Each field is null, and under ``misfits`` of the line stands what was sent."""
    await exported(server, sources, tmp_path / "calls.jsonl", normalised=True)
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_bytes().splitlines()]
    altered = [line for line in lines if line["misfits"] is not None]
    check_misfits([line["misfits"] for line in altered], len(sources))
    for line in altered:
        for name in set(line["misfits"]) & set(line):
            assert line[name] is None
        if line["transcript"]:
            assert [turn["content"] for turn in line["transcript"]] == [None, "Sure."]


async def test_csv(server: StandInServer, sources: list[CallSource], tmp_path: Path) -> None:
    """The cell is empty, and the column ``misfits`` has what was sent."""
    await exported(server, sources, tmp_path / "calls.csv")
    text = (tmp_path / "calls.csv").read_text("utf-8-sig")
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    altered = [row for row in read if row["misfits"]]
    check_misfits([json.loads(row["misfits"]) for row in altered], len(sources))
    for row in altered:
        for name in set(json.loads(row["misfits"])) & set(row):
            assert row[name] == ""
        if row["transcript"]:
            assert row["transcript"] == "user: \nassistant: Sure."


async def test_parquet_in_every_reader(
    server: StandInServer, sources: list[CallSource], tmp_path: Path
) -> None:
    """Columns hold null and the column ``misfits`` what was sent; four readers open it, odd years or not."""
    for source in sources:
        call_id = drifted(server, source)[0]
        server.alter_call(call_id, {"overall_score": "7.5", **_known(server, call_id, YEARS)})
    fetch = await exported(server, sources, tmp_path / "out", format="parquet", transcripts=True)
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert [source["misfits"] for source in manifest["sources"]] == [report.misfits for report in fetch]
    assert sum(part["misfits"] for part in manifest["parts"]) == ALTERED * len(sources)
    assert verify_export(tmp_path / "out").ok
    path = tmp_path / "out" / "calls-00000.parquet"
    for found in read_everywhere(path):
        sent = [json.loads(misfits) for *_, misfits in found]
        check_misfits(sent, len(sources))
        assert any("start_time" in misfits for misfits in sent)
        for (score, began, _), misfits in zip(found, sent, strict=True):
            assert is_null(score)
            assert is_null(began) or "start_time" not in misfits


def is_null(value: Any) -> bool:
    """Whether a reader took a value for null, which pandas calls NaN or NaT."""
    return value is None or value != value


def _known(server: StandInServer, call_id: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return those of the fields that answers with the call have."""
    detail = read_body(server, f"/simulate/call-executions/{call_id}/")
    return {key: value for key, value in fields.items() if key in detail}


def read_everywhere(path: Path) -> Iterator[list[tuple[Any, Any, str]]]:
    """Read score, time and misfits of the rows that have some, by each library in turn."""
    import duckdb
    import pandas
    import polars
    from pyarrow import parquet

    columns = ["overall_score", "start_time", "misfits"]
    yield [row for row in _tuples(parquet.read_table(path).select(columns).to_pydict()) if row[2] is not None]
    yield duckdb.sql(
        f"SELECT overall_score, start_time, misfits FROM '{path}' WHERE misfits IS NOT NULL"
    ).fetchall()
    frame = pandas.read_parquet(path, columns=columns)
    yield list(frame[frame["misfits"].notna()].itertuples(index=False, name=None))
    yield polars.read_parquet(path, columns=columns).filter(polars.col("misfits").is_not_null()).rows()


def _tuples(columns: dict[str, list[Any]]) -> list[tuple[Any, ...]]:
    return list(zip(*columns.values(), strict=True))
