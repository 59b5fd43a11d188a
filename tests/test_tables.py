"""Calls as tables: the same rows as an export's, whichever library reads them, complete or said not to be."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from futureagi_async import (
    AgentVersionCalls,
    AuthenticationError,
    CallExecution,
    CallSource,
    CallsTable,
    EvalOutput,
    ExportError,
    InternalServerError,
    RetryPolicy,
    RunTestCalls,
    Scenario,
    SessionMisuseError,
    TestExecutionCalls,
    TranscriptTurn,
    export_calls,
    fetch_table,
    read_export,
    stream_tables,
)
from futureagi_async.testing import StandInServer
from tests.support.exports import (
    ROWS,
    SOURCES,
    all_lists,
    call_of,
    calls_of,
    details_asked,
    encoded,
    names_in,
)
from tests.support.sessions import make_session, open_session, read_body, respond
from tests.support.slow import examples

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(attempts=1)


async def fetched(server: StandInServer, sources: Sequence[CallSource], **options: Any) -> CallsTable:
    """Read a table with a session of its own."""
    async with open_session(server, retry=ONCE) as session:
        return await fetch_table(session, sources, **options)


async def exported(server: StandInServer, target: Path, **options: Any) -> CallsTable:
    """Export one list of each kind, and read that back."""
    async with open_session(server) as session:
        await export_calls(session, all_lists(server), target, **options)
    return read_export(target)


def rows_of(table: Any) -> list[dict[str, Any]]:
    """Return a table's rows, in an order of their own."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return sorted(
        rows, key=lambda row: [str(row.get(key)) for key in ("id", "call_id", "source_index", "name")]
    )


async def test_a_table_is_what_an_export_writes(server: StandInServer, tmp_path: Path) -> None:
    """Rows, columns and types are those of a Parquet export of the same lists, evaluations included."""
    table = await fetched(server, all_lists(server), ordered=True)
    written = await exported(server, tmp_path / "out", format="parquet", ordered=True)
    assert table.calls.equals(written.calls)
    assert table.evaluations.equals(written.evaluations)
    assert len(table) == table.calls.num_rows > 100
    assert table.evaluations.num_rows > len(table)
    assert table.report is not None
    assert table.complete == table.report.complete == written.complete


async def test_what_arrives_in_any_order_has_the_same_rows(server: StandInServer) -> None:
    """Unsorted and in pieces, the rows are the same ones; small batches change nothing."""
    async with open_session(server) as session:
        whole = await fetch_table(session, all_lists(server))
        async with stream_tables(session, all_lists(server), batch_rows=7) as stream:
            pieces = [piece async for piece in stream]
            assert stream.report.received == len(whole)
    assert {len(piece) for piece in pieces[:-1]} == {7}
    assert rows_of(pa.concat_tables(piece.calls for piece in pieces)) == rows_of(whole.calls)
    assert rows_of(pa.concat_tables(piece.evaluations for piece in pieces)) == rows_of(whole.evaluations)
    assert all(piece.report is None for piece in pieces)


async def test_pandas_polars_and_duckdb_give_the_same_sums(server: StandInServer) -> None:
    """Three libraries read the table by its own means, and agree with the objects."""
    sources = all_lists(server)
    async with open_session(server) as session:
        calls = (await session.fetch_calls(sources)).calls
        results = await fetch_table(session, sources)
    evaluations = results.evaluations
    durations = sum(call.duration or 0 for call in calls)
    scores = sum(
        output.value
        for call in calls
        for output in (call.eval_outputs or {}).values()
        if type(output.value) in (int, float)
    )
    frame, polars_frame = results.to_pandas(), results.to_polars()
    (row,) = duckdb.sql("SELECT count(*), sum(duration) FROM results").fetchall()
    assert row == (len(calls), pytest.approx(durations))
    assert (len(frame), frame.duration.sum()) == (len(calls), pytest.approx(durations))
    assert (len(polars_frame), polars_frame["duration"].sum()) == (len(calls), pytest.approx(durations))
    assert pl.DataFrame(results).equals(polars_frame)
    assert pd.DataFrame.from_arrow(results)["duration"].sum() == pytest.approx(durations)
    ((value,),) = duckdb.sql("SELECT sum(value_number) FROM evaluations").fetchall()
    assert value == pytest.approx(scores)
    assert evaluations.to_pandas()["value_number"].sum() == pytest.approx(scores)
    assert pl.DataFrame(evaluations)["value_number"].sum() == pytest.approx(scores)
    assert str(frame.start_time.dtype).endswith("UTC]")


async def test_only_the_columns_asked_for(served: StandInServer) -> None:
    """The columns stand in the order given, also without those by which rows are told apart."""
    source = RunTestCalls(served.run_test_ids[1])
    table = await fetched(served, [source], columns=["status", "duration", "status"], evaluations=False)
    whole = await fetched(served, [source], ordered=True)
    assert table.calls.column_names == ["status", "duration"]
    assert table.evaluations is None
    assert sorted(table.calls["duration"].to_pylist(), key=str) == sorted(
        whole.calls["duration"].to_pylist(), key=str
    )
    async with open_session(served) as session, stream_tables(session, source, columns=["id"]) as stream:
        assert {tuple(piece.calls.column_names) async for piece in stream} == {("id",)}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"columns": ["staus"]}, ValueError, "columns has no column 'staus': did you mean 'status'?"),
        ({"columns": ["overal_score", "id"]}, ValueError, "did you mean 'overall_score'"),
        (
            {"columns": ["politeness?"]},
            ValueError,
            "no column 'politeness?'; docs/export-formats.md lists them",
        ),
        ({"columns": [5]}, ValueError, "columns has no column 5"),
        ({"columns": "status"}, TypeError, "columns must be a list of names"),
        ({"columns": 5}, TypeError, "columns must be a list of names"),
        ({"columns": []}, ValueError, "columns must not be empty"),
        ({"on_error": "ignore"}, ValueError, "on_error must be 'raise' or 'collect'"),
        ({"consistency": "slow"}, ValueError, "consistency must be 'complete' or 'fast'"),
        ({"page_size": 0}, ValueError, "page_size must be"),
        ({"deadline": -1}, ValueError, "deadline must be"),
        ({"max_outage": -1}, ValueError, "max_outage must be"),
        ({"sources": "run"}, TypeError, "A source is RunTestCalls"),
        ({"batch_rows": 0}, ValueError, "batch_rows must be"),
        ({"batch_rows": 1.5}, TypeError, "batch_rows must be"),
    ],
)
async def test_wrong_arguments_are_told_before_any_request(
    served: StandInServer, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Whatever is wrong with an argument is said at once, with what comes nearest to a column's name."""
    given = {"sources": RunTestCalls(served.run_test_ids[1]), **options}
    async with open_session(served) as session:
        with pytest.raises(error) as caught:
            async with stream_tables(session, **given):
                pass
        if "batch_rows" not in options:
            with pytest.raises(error):
                await fetch_table(session, **given)
    assert message in str(caught.value)
    assert not served.requests


async def test_without_pyarrow(served: StandInServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyarrow is missing, the error says how to get it, and nothing is asked."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    async with open_session(served) as session:
        with pytest.raises(ModuleNotFoundError, match="pip install 'pyarrow>=17'"):
            await fetch_table(session, RunTestCalls(served.run_test_ids[1]))
    assert not served.requests


async def test_a_session_that_is_not_open(served: StandInServer) -> None:
    """A closed session says so; a stream without its block says how it is used."""
    session = make_session(served)
    with pytest.raises(SessionMisuseError):
        await fetch_table(session, RunTestCalls(served.run_test_ids[1]))
    async with open_session(served) as session:
        async with stream_tables(session, RunTestCalls(served.run_test_ids[1])) as stream:
            pass
        with pytest.raises(SessionMisuseError, match="async with"):
            await anext(stream)


@pytest.mark.parametrize("columns", [None, ["status"]])
async def test_empty_sources_give_empty_tables(server: StandInServer, columns: list[str] | None) -> None:
    """A list without calls, and no list at all, give no rows, with all columns and types."""
    whole = await fetched(server, all_lists(server), columns=columns)
    for sources in ([RunTestCalls(server.add_run_test(0))], []):
        table = await fetched(server, sources, columns=columns)
        assert len(table) == 0
        assert table.calls.schema == whole.calls.schema
        assert table.evaluations.schema == whole.evaluations.schema
        assert table.complete


async def test_withheld_transcripts_are_null_until_asked_for(served: StandInServer) -> None:
    """A test execution withholds transcripts: null; with transcripts they are read, each call once."""
    source = TestExecutionCalls(served.test_execution_ids[0])
    table = await fetched(served, [source])
    assert table.calls["transcript"].null_count == len(table) > 0
    assert not details_asked(served)
    table = await fetched(served, [source], transcripts=True)
    assert sorted(details_asked(served)) == sorted(table.calls["id"].to_pylist())
    assert table.calls["transcript"].null_count == 0
    async with open_session(served) as session:
        details = await session.fetch_call_executions(table.calls["id"].to_pylist())
    said = [[turn["content"] for turn in turns] for turns in table.calls["transcript"].to_pylist()]
    assert said == [[turn.content for turn in each.unwrap().transcript or ()] for each in details]
    assert any(said)
    assert table.complete


async def test_what_is_delivered_is_not_asked_for_again(served: StandInServer) -> None:
    """A list that sends its transcripts costs no further request."""
    await fetched(served, [RunTestCalls(served.run_test_ids[1])], transcripts=True)
    assert not details_asked(served)


async def test_details_that_are_gone_or_fail(served: StandInServer) -> None:
    """A deleted call's transcript stays null; an error ends the read, or is reported, as was asked for."""
    source = TestExecutionCalls(served.test_execution_ids[0])
    gone, failing = served.test_execution_rows(source.test_execution_id)[:2]
    served.fail(f"/call-executions/{gone}/", status=404, times=3)
    table = await fetched(served, [source], transcripts=True)
    assert table.transcripts_gone == (gone,)
    assert table.calls["transcript"].null_count == 1
    assert table.complete
    served.fail(f"/call-executions/{failing}/", status=500, times=3)
    with pytest.raises(InternalServerError):
        await fetched(served, [source], transcripts=True)
    table = await fetched(served, [source], transcripts=True, on_error="collect")
    assert [type(error) for error in table.transcript_failures] == [InternalServerError]
    assert not table.complete
    assert table.report is not None
    assert table.report.complete
    served.clear_faults()
    served.fail("/call-executions/", status=401, times=100)
    with pytest.raises(AuthenticationError):
        await fetched(served, [source], transcripts=True, on_error="collect")


@pytest.mark.parametrize("way", ["fetch", "fetch in batches", "sorted", "stream", "updates"])
async def test_a_call_that_changes_while_it_is_read(futureagi_server: StandInServer, way: str) -> None:
    """The newest version is in the table, with its evaluations; a stream gives the first, or both."""
    server = futureagi_server
    execution_id = server.add_test_execution(50)
    path = f"/simulate/test-executions/{execution_id}/"
    page = read_body(server, path + "?limit=20")
    newer = page["results"][3]
    page["results"][3] = newer | {
        "timestamp": "2020-01-01T00:00:00Z",
        "call_summary": "as it was",
        "eval_outputs": {"old": {"name": "Old", "value": 1}},
    }
    respond(server, path, page)
    source = TestExecutionCalls(execution_id)
    async with open_session(server) as session:
        if way in ("fetch", "sorted"):
            tables = [await fetch_table(session, source, page_size=20, ordered=way == "sorted")]
        else:
            # both versions come in batches of their own
            opened = stream_tables(session, source, page_size=20, batch_rows=5, updates=way != "stream")
            async with opened as stream:
                in_one = way == "fetch in batches"
                tables = [await stream.collect()] if in_one else [piece async for piece in stream]
    calls = pa.concat_tables(each.calls for each in tables).to_pylist()
    names = pa.concat_tables(each.evaluations for each in tables).to_pylist()
    versions = [row["call_summary"] == "as it was" for row in calls if row["id"] == newer["id"]]
    assert versions == {"stream": [True], "updates": [True, False]}.get(way, [False])
    assert len({row["id"] for row in calls}) == 50
    kept = [row["name"] for row in names if row["call_id"] == newer["id"]]
    assert ("Old" in kept) == (way in ("stream", "updates"))


async def test_a_source_given_twice_has_its_calls_once(served: StandInServer) -> None:
    """A table has one row for each call of each source, however often the source is given."""
    run = RunTestCalls(served.run_test_ids[1])
    twice = await fetched(served, [run, RunTestCalls(run.run_test_id)], page_size=5, ordered=False)
    once = await fetched(served, [run])
    assert rows_of(twice.calls) == rows_of(once.calls)
    assert rows_of(twice.evaluations) == rows_of(once.evaluations)


async def test_values_that_fit_no_column_are_misfits(served: StandInServer) -> None:
    """A value of another type is null in its column, and in misfits as it was sent."""
    source = RunTestCalls(served.run_test_ids[1])
    one = served.run_test_rows(source.run_test_id)[0]
    served.alter_call(one, {"overall_score": "7.5", "duration": 2**53 + 1})
    table = await fetched(served, [source])
    (row,) = [row for row in table.calls.to_pylist() if row["id"] == one]
    assert row["overall_score"] is row["duration"] is None
    assert json.loads(row["misfits"]) == {"overall_score": "7.5", "duration": 2**53 + 1}
    assert table.calls["misfits"].null_count == len(table) - 1


async def test_records_that_do_not_decode(served: StandInServer) -> None:
    """A broken record ends the read, or is reported and makes it incomplete; the others are there."""
    source = RunTestCalls(served.run_test_ids[1])
    served.alter_call(served.run_test_rows(source.run_test_id)[0], {"id": 5})
    with pytest.raises(Exception, match="id"):
        await fetched(served, [source])
    whole = len(served.run_test_rows(source.run_test_id))
    table = await fetched(served, [source], on_error="collect")
    assert len(table) == whole - 1
    assert not table.complete


async def test_provider_data_is_left_out_unless_asked_for(served: StandInServer) -> None:
    """Other parties' keys come into no table by default."""
    source = AgentVersionCalls(*served.agent_versions[0])
    plain, kept = [
        (await fetched(served, [source], include_provider_data=keep)).calls["extra"].to_pylist()
        for keep in (False, True)
    ]
    assert not any("call_metadata" in text or "provider_call_data" in text for text in plain)
    assert any("call_metadata" in text for text in kept)


async def test_leaving_a_stream_early_leaves_nothing_behind(served: StandInServer) -> None:
    """Whoever has seen enough cancels the rest; open_session checks that no task is left."""
    source = RunTestCalls(served.add_run_test(1_200, slim=True))
    async with open_session(served) as session:
        async with stream_tables(session, source, page_size=20, batch_rows=50) as stream:
            assert len(await anext(stream)) == 50
        report = stream.report
    assert not report.complete
    assert report.received < 1_200


def test_reprs_are_short() -> None:
    """A table says what it holds in a line, with or without a report and evaluations."""
    table = CallsTable.from_calls(calls_of({"id": "1", "eval_outputs": {"e": 1}}))
    assert repr(table) == "<CallsTable: 1 calls, 1 evaluations, nothing says whether that is all>"
    without = CallsTable.from_calls([], evaluations=False)
    assert repr(without) == "<CallsTable: 0 calls, nothing says whether that is all>"


async def test_objects_give_the_same_table(server: StandInServer) -> None:
    """A table of calls that were read as objects equals one that was read as such."""
    sources = all_lists(server)
    async with open_session(server) as session:
        result = await session.fetch_calls(sources, ordered=True)
        table = await fetch_table(session, sources, ordered=True)
    made = CallsTable.from_calls(result.calls, report=result.report)
    assert made.calls.equals(table.calls)
    assert made.evaluations.equals(table.evaluations)
    assert made.report is result.report
    chosen = CallsTable.from_calls(result.calls, columns=["id"], evaluations=False)
    assert (chosen.calls.column_names, chosen.evaluations) == (["id"], None)


@settings(max_examples=examples(60))
@given(rows=st.lists(ROWS, max_size=4))
def test_lines_give_the_table_that_records_give(rows: list[dict[str, Any]]) -> None:
    """Calls read back from normalised lines have the columns that their records have, units included."""
    calls = list({call.id: call for call in calls_of(*rows)}.values())
    lines = [CallExecution.from_json(call.to_json()) for call in calls]
    before, after = CallsTable.from_calls(calls), CallsTable.from_calls(lines)
    for name in before.calls.column_names:
        if name not in ("eval_outputs", "rerun_snapshots", "misfits", "transcript"):
            assert json_or(before.calls[name]) == json_or(after.calls[name]), name
    for one, other in zip(before.calls.to_pylist(), after.calls.to_pylist(), strict=True):
        if not one["misfits"]:
            assert one["transcript"] == other["transcript"]
    assert before.evaluations.to_pylist() == after.evaluations.to_pylist()


def json_or(column: Any) -> list[Any]:
    """Return a column's values, decoded where they are JSON."""

    def decoded(value: Any) -> Any:
        try:
            return json.loads(value)
        except (TypeError, ValueError):
            return value

    return list(map(decoded, column.to_pylist()))


def test_calls_built_by_hand_become_rows() -> None:
    """A call that no server sent is in the table with all it has."""
    call = CallExecution(
        id="1",
        duration=5,
        scenario=Scenario("s", "Refund"),
        transcript=(TranscriptTurn("user", "Hi.", 0.5, None, {"id": "t"}),),
        eval_outputs={
            "e": EvalOutput("e", "Tone", 0.5, "score", "Friendly."),
            "p": EvalOutput("p", "Late", pending=True, error=None),
        },
        recordings={"combined": "https://audio.example/a.wav"},
        extra={"provider": "vapi"},
        source=SOURCES[0],
    )
    table = CallsTable.from_calls([attrs.evolve(call, duration=4), call])
    (row,) = table.calls.to_pylist()
    assert (row["duration"], row["scenario_name"], row["scenario_id"], row["source_index"]) == (
        5,
        "Refund",
        "s",
        0,
    )
    assert row["transcript"] == [
        {"role": "user", "content": "Hi.", "start_seconds": 0.5, "end_seconds": None}
    ]
    assert json.loads(row["recordings"]) == {"combined": "https://audio.example/a.wav"}
    assert json.loads(row["extra"]) == {"provider": "vapi"}
    first, second = table.evaluations.to_pylist()
    assert (first["value_number"], first["reason"], first["pending"]) == (0.5, "Friendly.", False)
    assert (second["name"], second["value"], second["pending"]) == ("Late", "null", True)


@pytest.mark.parametrize("wrong", [5, [5], call_of(), "calls"])
def test_what_is_no_list_of_calls(wrong: Any) -> None:
    """A call in place of a list, or a list of something else, is told."""
    with pytest.raises(TypeError, match=r"must be a list of CallExecution|is a CallExecution, not"):
        CallsTable.from_calls(wrong)


WAYS = {
    "parquet": {"format": "parquet", "part_rows": 50},
    "calls.parquet": {},
    "lines": {"ordered": True, "part_rows": 50},
    "normalised": {"normalised": True},
    "calls.jsonl.gz": {"normalised": True},
    "calls.jsonl.zst": {"normalised": True},
}


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", WAYS)
async def test_every_way_of_exporting_is_read_back(server: StandInServer, tmp_path: Path, name: str) -> None:
    """Whatever was exported, in parts or as a file, gives the rows that were read, and the verdict."""
    written = await exported(server, tmp_path / name, **{"ordered": True, **WAYS[name]})
    table = await fetched(server, all_lists(server), ordered=True)
    for column in table.calls.column_names:
        if column not in ("eval_outputs", "rerun_snapshots"):  # normalised in normalised lines
            assert written.calls[column].to_pylist() == table.calls[column].to_pylist(), column
    assert rows_of(written.evaluations) == rows_of(table.evaluations)
    assert written.calls.schema == table.calls.schema
    if (tmp_path / name).is_dir():
        assert written.report is not None
        assert table.report is not None
        assert [each.source for each in written.report] == all_lists(server)
        assert [each.verdict for each in written.report] == [each.verdict for each in table.report]
    else:
        assert written.report is None


async def test_lines_as_sent_of_several_lists_name_none(served: StandInServer, tmp_path: Path) -> None:
    """Where nothing tells which list a line is from, its source is null rather than a guess."""
    written = await exported(served, tmp_path / "calls.jsonl")
    assert written.calls["source_kind"].null_count == len(written) > 0
    async with open_session(served) as session:
        await export_calls(session, all_lists(served)[0], tmp_path / "one")
    assert set(read_export(tmp_path / "one").calls["source_index"].to_pylist()) == {0}


async def test_transcripts_of_an_export_are_read_back(served: StandInServer, tmp_path: Path) -> None:
    """Lines with added transcripts have them as turns, and what was gone is said."""
    source = TestExecutionCalls(served.test_execution_ids[0])
    gone = served.test_execution_rows(source.test_execution_id)[0]
    served.fail(f"/call-executions/{gone}/", status=404)
    async with open_session(served) as session:
        await export_calls(session, source, tmp_path / "out", transcripts=True)
    table = read_export(tmp_path / "out")
    assert table.transcripts_gone == (gone,)
    assert table.calls.filter(pa.compute.field("transcript").is_null())["id"].to_pylist() == [gone]


async def test_choices_of_sources_come_back_from_the_manifest(served: StandInServer, tmp_path: Path) -> None:
    """Two lists of one run test that differ in what was chosen are told apart, also in normalised lines."""
    run = served.run_test_ids[1]
    with pytest.warns(UserWarning, match="unheard"):
        sources = [RunTestCalls(run, status="unheard"), RunTestCalls(run, status="completed")]
    async with open_session(served) as session:
        await export_calls(session, sources, tmp_path / "out", normalised=True)
    table = read_export(tmp_path / "out")
    assert table.report is not None
    assert [each.source for each in table.report] == sources
    assert set(table.calls["source_index"].to_pylist()) == {1}


async def test_only_some_columns_of_an_export(served: StandInServer, tmp_path: Path) -> None:
    """Columns can be chosen of any format, and evaluations left out."""
    for name in ("parquet", "calls.parquet", "lines"):
        await exported(served, tmp_path / name, **WAYS[name])
        table = read_export(tmp_path / name, columns=["duration", "id"], evaluations=False)
        assert (table.calls.column_names, table.evaluations) == (["duration", "id"], None)
        with pytest.raises(ValueError, match="did you mean 'duration'"):
            read_export(tmp_path / name, columns=["durations"])


@pytest.mark.parametrize("name", ["_manifest.json", "manifest.json"])
async def test_manifests_under_either_name(served: StandInServer, tmp_path: Path, name: str) -> None:
    """The manifest is found under the name that any version gave it, or may be given itself."""
    await exported(served, tmp_path, format="parquet")
    for manifest in names_in(tmp_path) & {"_manifest.json", "manifest.json"}:
        (tmp_path / manifest).rename(tmp_path / name)
    assert len(read_export(tmp_path)) == len(read_export(tmp_path / name)) > 0


async def test_files_of_another_version(served: StandInServer, tmp_path: Path) -> None:
    """Columns that an older file has not are null, and further ones are left out."""
    written = await exported(served, tmp_path / "calls.parquet")
    older = written.calls.drop(["csat_score"]).append_column("new", pa.nulls(len(written)))
    parquet.write_table(older, tmp_path / "older.parquet")
    table = read_export(tmp_path / "older.parquet")
    assert table.calls.schema == written.calls.schema
    assert table.calls["csat_score"].null_count == len(table)


async def test_what_is_no_export(served: StandInServer, tmp_path: Path) -> None:
    """Each wrong path says what is wrong with it."""

    def refused(path: Path | str, message: str) -> None:
        with pytest.raises((ExportError, ValueError), match=message):
            read_export(path)

    await exported(served, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("Hello")
    (tmp_path / "cut.jsonl").write_bytes(encoded({"id": "1"}) + b'\n{"id": "2", "st')
    (tmp_path / "not.parquet").write_bytes(b"PAR1")
    (tmp_path / "cut.jsonl.gz").write_bytes(b"\x1f\x8b\x08")
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    async with open_session(served) as session:
        await export_calls(session, all_lists(served), tmp_path / "calls.csv")
    refused(tmp_path / "gone", "no such file or directory")
    refused(tmp_path / "gone.parquet", "no such file or directory")
    refused(tmp_path / "empty", "there is no .*manifest.json of an export")
    refused(tmp_path / "notes.txt", r"target must end in|does not end in")
    refused(tmp_path / "cut.jsonl", r"Can't read .*cut.jsonl")
    refused(tmp_path / "cut.jsonl.gz", r"Can't read .*cut.jsonl.gz")
    refused(tmp_path / "not.parquet", r"Can't read .*not.parquet")
    refused(tmp_path / "other.parquet", "no column source_index")
    refused(tmp_path / "calls.csv", "CSV has no types and no separate turns")
    refused("https://lake/calls", "path must be a path on this machine")
    refused("s3://lake/calls.parquet", "path must be a prefix")
    refused("", "path must be a path, not ''")
    (part,) = (tmp_path / "out").glob("calls-*.jsonl")
    part.write_bytes(part.read_bytes()[:-5])
    refused(tmp_path / "out", "was changed or removed after the export")
    part.unlink()
    refused(tmp_path / "out", "was changed or removed after the export")
