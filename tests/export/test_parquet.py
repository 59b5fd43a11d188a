"""Calls as Parquet: one schema for every export, and no value changed on the way."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from futureagi_async import CallExecution, CallSource
from futureagi_async.export.formats import open_writer
from futureagi_async.export.formats import parquet as writing
from futureagi_async.export.formats.schema import CALLS, EVALUATIONS, JSON_PARTS
from futureagi_async.models import EvalOutput
from tests.support.exports import (
    EXECUTION,
    HUGE,
    INEXACT,
    ROWS,
    SOURCES,
    VERSION,
    batch_of,
    call_of,
    calls_of,
    error_in,
    written,
)
from tests.support.slow import examples

TURN = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
    ]
)


def tables_of(calls: Sequence[CallExecution], **options: Any) -> tuple[Any, Any]:
    """Return both tables as they are read back."""
    side = io.BytesIO()
    data = written("parquet", calls, side_file=side, **options)
    side.seek(0)
    return parquet.read_table(io.BytesIO(data)), parquet.read_table(side)


def rows_of(*rows: Any, source: CallSource = SOURCES[0]) -> list[dict[str, Any]]:
    """Return the table of calls as dicts."""
    return tables_of(calls_of(*rows, source=source))[0].to_pylist()


def evaluations_of(**outputs: Any) -> list[dict[str, Any]]:
    """Return the long table of one call as dicts."""
    return tables_of([call_of(eval_outputs=outputs)])[1].to_pylist()


def exact(value: Any) -> Any:
    """Return what a double column holds of a number."""
    try:
        return value if value is None or float(value) == value else None
    except OverflowError:
        return None


@settings(max_examples=examples(60))
@given(rows=st.lists(ROWS, max_size=4))
def test_every_value_is_in_its_column_or_beside_it(rows: list[dict[str, Any]]) -> None:
    """Each column holds what the model says; what it can't hold is null there, and as sent in misfits."""
    calls = calls_of(*rows)
    read, evaluations = tables_of(calls)
    assert read.num_rows == len(calls)
    for call, row in zip(calls, read.to_pylist(), strict=True):
        misfits = json.loads(row["misfits"] or "{}")
        for name in ("id", "status", "customer_name", "start_time"):
            assert row[name] == getattr(call, name)
        for name in ("overall_score", "duration"):
            value = getattr(call, name)
            assert row[name] == exact(value)
            assert misfits.get(name) == (value if exact(value) != value else call.misfits.get(name))
        assert json.loads(row["extra"]) == call.extra
        for name in JSON_PARTS:
            sent = json.loads(call.raw).get(name)
            assert row[name] is None if sent is None else json.loads(row[name]) == sent
        check_transcript(call, row, misfits)
        assert ("eval_outputs" in misfits) == error_in(call, "eval_outputs")
    outputs = [
        (call.id, output)
        for call in calls
        if not error_in(call, "eval_outputs")
        for output in (call.eval_outputs or {}).values()
    ]
    for (call_id, output), row in zip(outputs, evaluations.to_pylist(), strict=True):
        assert row["call_id"] == call_id
        check_evaluation(output, row)


def check_evaluation(output: EvalOutput, row: dict[str, Any]) -> None:
    """Compare a row of the long table with the model's evaluation."""
    for name in ("name", "type", "reason", "status", "skipped", "pending"):
        assert row[name] == getattr(output, name)
    assert row["evaluation_id"] == output.id
    assert json.loads(row["value"]) == output.value
    assert row["value_text"] == (output.value if isinstance(output.value, str) else None)
    number = isinstance(output.value, int | float) and not isinstance(output.value, bool)
    assert row["value_number"] == (exact(output.value) if number else None)
    assert row["error"] == (None if output.error is None else bool(output.error))
    assert row["error_text"] == (output.error if isinstance(output.error, str) else None)


def check_transcript(call: CallExecution, row: dict[str, Any], misfits: dict[str, Any]) -> None:
    """Compare a transcript with the model's."""
    bad = error_in(call, "transcript")
    turns = () if bad else call.transcript or ()
    times = [time for turn in turns for time in (turn.start_seconds, turn.end_seconds)]
    if bad or [exact(time) for time in times] != times:
        assert row["transcript"] is None
        assert misfits["transcript"] == json.loads(call.raw).get("transcript", misfits["transcript"])
        return
    assert "transcript" not in misfits
    assert row["transcript"] == (
        None
        if call.transcript is None
        else [
            {
                "role": turn.role,
                "content": turn.content,
                "start_seconds": turn.start_seconds,
                "end_seconds": turn.end_seconds,
            }
            for turn in call.transcript
        ]
    )


def test_the_schema_is_the_same_for_any_calls() -> None:
    """No calls, calls without any value, and full ones have one schema: nothing is guessed from values."""
    nothing, void = tables_of([])
    empty, _ = tables_of([call_of()])
    full, evaluations = tables_of(
        [
            call_of(
                overall_score=1, status="a", transcript=[{"content": "a"}], eval_outputs={"e": {"value": 1}}
            )
        ]
    )
    assert nothing.schema == empty.schema == full.schema
    assert void.schema == evaluations.schema
    assert full.schema.names == list(CALLS)
    assert evaluations.schema.names == list(EVALUATIONS)
    assert full.schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert full.schema.field("overall_score").type == pa.float64()
    assert full.schema.field("transcript").type == pa.list_(pa.field("element", TURN))


def test_a_withheld_transcript_is_null_and_an_empty_one_empty() -> None:
    """A list that withholds transcripts is told from a call in which nothing was said."""
    served = {"id": "1", "transcript": [], "duration_seconds": 1}
    assert rows_of(served, source=EXECUTION)[0]["transcript"] is None
    assert rows_of(served, source=SOURCES[0])[0]["transcript"] == []


def test_numbers_that_no_double_holds_are_kept_beside() -> None:
    """A whole number goes to its column only if it comes out again; zero is no null."""
    small, inexact, huge, lucky = rows_of(
        {"id": "1", "overall_score": 0},
        {"id": "2", "overall_score": INEXACT},
        {"id": "3", "overall_score": HUGE, "total_tokens": 10**400},
        {"id": "4", "overall_score": 2**60},
    )
    assert (small["overall_score"], small["misfits"]) == (0.0, None)
    assert (inexact["overall_score"], inexact["misfits"]) == (None, f'{{"overall_score":{INEXACT}}}')
    assert json.loads(huge["misfits"]) == {"overall_score": HUGE, "total_tokens": 10**400}
    assert (lucky["overall_score"], lucky["misfits"]) == (float(2**60), None)


@pytest.mark.parametrize(
    "turns",
    [[5], "said", [{"content": "a", "start_time_seconds": INEXACT}], [{"start_time_seconds": 2**61 + 1}]],
)
def test_transcripts_that_do_not_fit_are_kept_beside(turns: Any) -> None:
    """A transcript of no known shape, or with a time that no double holds, spoils no other one."""
    bad, good = rows_of(
        {"id": "1", "transcript": turns, "status": "failed"}, {"id": "2", "transcript": [{"content": "a"}]}
    )
    assert (bad["transcript"], bad["status"]) == (None, "failed")
    assert json.loads(bad["misfits"]) == {"transcript": turns}
    assert good["transcript"][0]["content"] == "a"


def test_turns_of_every_dialect_give_the_same_columns() -> None:
    """Role, text and seconds are the model's, whichever keys they were sent under; 0 ms is no end."""
    served = {"speaker_role": "user", "content": "Hi", "start_time_ms": 1500, "end_time_ms": 0}
    documented = {"role": "user", "content": "Hi", "start_time_seconds": 1.5, "end_time_seconds": None}
    chat = {"role": "user", "messages": ["Hi", "there"], "content": [{"x": 1}]}
    one, other, third = rows_of(
        {"id": "1", "transcripts": [served]},
        {"id": "2", "transcript": [documented]},
        {"id": "3", "transcript": [chat, {"speaker_role": ""}]},
    )
    assert one["transcript"] == other["transcript"]
    assert one["transcript"] == [{"role": "user", "content": "Hi", "start_seconds": 1.5, "end_seconds": None}]
    assert [turn["content"] for turn in third["transcript"]] == ["Hi\nthere", ""]
    assert third["transcript"][1]["role"] is None


def test_a_time_far_out_that_a_double_holds_is_kept() -> None:
    """Whole numbers beyond 2^53 are no misfits where a double has them."""
    (row,) = rows_of({"id": "1", "transcript": [{"content": "a", "start_time_seconds": 2**60}]})
    assert row["transcript"][0]["start_seconds"] == 2.0**60
    assert row["misfits"] is None


def test_times_are_utc() -> None:
    """Whatever zone a time was sent in, the column has the moment in UTC."""
    (row,) = rows_of({"id": "1", "start_time": "2026-01-08T10:00:00.123456+01:00"})
    assert row["start_time"] == datetime(2026, 1, 8, 9, 0, 0, 123456, tzinfo=UTC)


def test_json_columns_are_bytes_as_sent() -> None:
    """Free objects are not decoded and encoded again: digits and order stay."""
    (row,) = rows_of(b'{"id":"1","eval_metrics":{"b":0.10,"a":1.0e5},"odd":0.10,"recordings":null}')
    assert row["eval_metrics"] == '{"b":0.10,"a":1.0e5}'
    assert row["extra"] == '{"odd":0.10}'
    assert row["recordings"] is None


def test_the_source_is_in_columns() -> None:
    """Both tables say which of the export's sources a call came from."""
    calls = calls_of({"id": "1", "eval_outputs": {"e": {"output": 1}}}, source=VERSION)
    for table in tables_of(calls):
        (row,) = table.to_pylist()
        assert row["source_index"] == SOURCES.index(VERSION)
        assert row["source_kind"] == "agent_version"
        assert row["source_agent_id"] == VERSION.agent_id
        assert row["source_version_id"] == VERSION.version_id
        assert row["source_run_test_id"] is None


@pytest.mark.parametrize(
    ("value", "number", "text"),
    [
        (0, 0.0, None),
        (0.5, 0.5, None),
        (HUGE, None, None),
        ("", None, ""),
        ("Passed", None, "Passed"),
        (False, None, None),
        (["Calm"], None, None),
        (None, None, None),
    ],
)
def test_a_result_is_json_and_a_number_or_a_text(value: Any, number: Any, text: Any) -> None:
    """The long table has each value as JSON, and where it is one also as number or text."""
    (row,) = evaluations_of(e={"name": "E", "type": "t", "value": value, "status": "Completed"})
    assert json.loads(row["value"]) == value
    assert (row["value_number"], row["value_text"]) == (number, text)
    assert (row["call_id"], row["evaluation_id"], row["name"]) == ("1", "e", "E")


def test_an_evaluation_says_how_it_went() -> None:
    """Pending, skipped and failed ones are rows like the others."""
    rows = evaluations_of(
        a={}, b={"value": None, "skipped": True}, c={"error": "no model", "value": None}, d={"error": True}
    )
    marks = [tuple(row[name] for name in ("pending", "skipped", "error", "error_text")) for row in rows]
    assert marks == [
        (True, False, False, None),
        (False, True, False, None),
        (False, False, True, "no model"),
        (True, False, True, None),
    ]


def test_an_evaluation_keeps_its_row_without_what_drifted() -> None:
    """What its columns can't hold is null there, and in the call's misfits by its path."""
    sent = {"name": 5, "value": 0.5, "reason": [], "status": {}, "error": 5, "skipped": "no", "type": 5}
    table, evaluations = tables_of([call_of(eval_outputs={"e": sent, "f": {"value": 1}})])
    first, second = evaluations.to_pylist()
    names = ("name", "type", "reason", "status", "error", "error_text", "skipped", "pending")
    assert [first[name] for name in names] == [None] * 7 + [False]
    assert (first["value"], first["value_number"], second["value_number"]) == ("0.5", 0.5, 1.0)
    (misfits,) = table.column("misfits").to_pylist()
    expected = {f"eval_outputs['e'].{name}": value for name, value in sent.items() if name != "value"}
    assert json.loads(misfits) == expected
    alone = parquet.read_table(io.BytesIO(written("parquet", [call_of(eval_outputs={"e": sent})])))
    assert alone.column("misfits").to_pylist() == [None], "the only column of evaluations has them as sent"


def test_evaluations_of_no_known_shape_are_not_lost() -> None:
    """They have no rows, and are in misfits and in the column of the call."""
    table, evaluations = tables_of([call_of(eval_outputs=[1]), call_of(eval_outputs={"e": 1})])
    assert table.column("misfits").to_pylist() == ['{"eval_outputs":[1]}', None]
    assert table.column("eval_outputs").to_pylist() == ["[1]", '{"e":1}']
    assert evaluations.num_rows == 1


def test_each_evaluation_belongs_to_its_call() -> None:
    """Rows of the long table name the call they came from, in its order."""
    calls = calls_of(
        {"id": "1", "eval_outputs": {"a": 1, "b": 2}}, {"id": "2"}, {"id": "3", "eval_outputs": {"a": 3}}
    )
    rows = tables_of(calls)[1].to_pylist()
    assert [(row["call_id"], row["evaluation_id"], row["value"]) for row in rows] == [
        ("1", "a", "1"),
        ("1", "b", "2"),
        ("3", "a", "3"),
    ]


def test_two_scenario_ids_are_both_kept() -> None:
    """Where a record names its scenario twice, differently, the column has one and misfits the other."""
    (row,) = rows_of({"id": "1", "scenario": {"id": "inner", "name": "S"}, "scenario_id": "outer"})
    assert (row["scenario_name"], row["scenario_id"]) == ("S", "outer")
    assert json.loads(row["misfits"]) == {"scenario": {"id": "inner", "name": "S"}}


def test_many_calls_become_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are gathered into batches and row groups; none is lost or moved."""
    monkeypatch.setattr(writing, "_ROW_GROUP_BYTES", 200_000)
    calls = calls_of(*({"id": str(number), "eval_outputs": {"e": number}} for number in range(4500)))
    file, side = io.BytesIO(), io.BytesIO()
    writer = open_writer("parquet", file, sources=SOURCES, side_file=side)
    for start in range(0, len(calls), 700):
        writer.write(batch_of(calls[start : start + 700]))
    writer.close()
    assert parquet.ParquetFile(file).num_row_groups > 1
    assert parquet.read_table(file).column("id").to_pylist() == [call.id for call in calls]
    assert parquet.read_table(side).column("value_number").to_pylist() == list(range(4500))


def test_the_same_calls_give_the_same_bytes() -> None:
    """Two exports of the same calls do not differ."""
    calls = [call_of(transcript=[{"content": "a"}], eval_outputs={"e": 1})]
    assert written("parquet", calls) == written("parquet", calls)


def test_columns_are_compressed() -> None:
    """Every column is compressed with zstd."""
    metadata = parquet.ParquetFile(io.BytesIO(written("parquet", [call_of()]))).metadata
    group = metadata.row_group(0)
    assert {group.column(place).compression for place in range(group.num_columns)} == {"ZSTD"}


def test_misfits_are_counted() -> None:
    """The writer knows how many calls had a value that did not fit."""
    writer = open_writer("parquet", io.BytesIO())
    writer.write(batch_of([call_of(), call_of(overall_score=HUGE, transcript=1)]))
    writer.close()
    assert writer.misfits == 1


def test_a_writer_given_up_leaves_the_file_alone(tmp_path: Path) -> None:
    """Who drops a writer and closes the file gets neither a footer nor a complaint."""
    with (tmp_path / "calls.parquet").open("wb") as file:
        writer = open_writer("parquet", file)
        writer.write(batch_of([call_of()]))
    del writer
    assert b"PAR1" not in (tmp_path / "calls.parquet").read_bytes()[4:]


@pytest.mark.parametrize("reader", ["duckdb", "pandas", "polars"])
def test_others_open_it(reader: str, tmp_path: Path) -> None:
    """DuckDB, pandas and polars read both tables, nested turns and times included."""
    library = pytest.importorskip(reader)
    calls = calls_of(
        {
            "id": "é",
            "start_time": "2026-01-08T10:00:00Z",
            "transcript": [{"role": "user", "content": "Hi 🙂", "start_time_seconds": 1}],
            "eval_outputs": {"e": {"name": "Tone", "value": 0.5}},
        },
        {"id": "2"},
    )
    path, side = tmp_path / "calls.parquet", tmp_path / "evaluations.parquet"
    with side.open("wb") as side_file:
        path.write_bytes(written("parquet", calls, side_file=side_file))
    if reader == "duckdb":
        turns = f"SELECT id, unnest(transcript) AS turn, epoch(start_time) AS began FROM '{path}'"
        found = library.sql(f"SELECT id, turn.content, began FROM ({turns})").fetchall()
        assert found == [("é", "Hi 🙂", 1767866400.0)]
        names = f"SELECT name, avg(value_number) FROM '{side}' GROUP BY name"
        assert library.sql(names).fetchall() == [("Tone", 0.5)]
        return
    table, evaluations = library.read_parquet(path), library.read_parquet(side)
    assert list(table["id"]) == ["é", "2"]
    assert table["transcript"][0][0]["content"] == "Hi 🙂"
    assert table["start_time"][0] == datetime(2026, 1, 8, 10, tzinfo=UTC)
    assert list(evaluations["value_number"]) == [0.5]
