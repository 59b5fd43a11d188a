"""The quick way of records into Parquet: the same columns as by the careful way; ordinary lists go it."""

from collections.abc import Sequence
from typing import Any

import attrs
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from futureagi_async import CallExecution, CallSource
from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.arrow_arrays import arrow_schema, evaluations_batch
from futureagi_async.export.formats.arrow_batches import BatchMaker, CallColumns, in_order
from futureagi_async.export.formats.records import Batch
from futureagi_async.export.formats.schema import CALLS, EVALUATIONS, SourceColumns
from futureagi_async.testing import StandInServer
from tests.support import samples
from tests.support.exports import (
    EXECUTION,
    HUGE,
    INEXACT,
    RECORDED_PAGES,
    ROWS,
    SAMPLES,
    SOURCES,
    all_lists,
    batch_of,
    calls_of,
    never,
    noted,
    recorded_calls,
    records,
    refused,
)
from tests.support.samples import Recording
from tests.support.sessions import open_session
from tests.support.slow import examples

Tables = list[Any]
"""The table of calls, and that of evaluations."""


def quickly(batch: Batch) -> tuple[Tables, int]:
    """Make the tables as the writer does, and count misfits."""
    maker = BatchMaker(pa, SOURCES, evaluations=True)
    pieces = maker.make(batch)
    calls = pa.Table.from_batches(in_order(pa, pieces.calls), maker.calls_schema)
    evaluations = pa.Table.from_batches(in_order(pa, pieces.evaluations), maker.evaluations_schema)
    return [calls, evaluations], pieces.misfits


def carefully(calls: Sequence[CallExecution]) -> tuple[Tables, int]:
    """Make the tables of calls, and count misfits."""
    columns = CallColumns(calls, SourceColumns(SOURCES), pa)
    entries = columns.evaluations()
    rows = columns.batch(arrow_schema(pa, CALLS))
    evaluations, _ = evaluations_batch(pa, rows, entries, arrow_schema(pa, EVALUATIONS))
    return list(map(pa.Table.from_batches, ([rows], [evaluations]))), sum(map(bool, columns.misfits))


def bits(table: Any) -> dict[str, list[int | None]]:
    """Return a table's doubles as whole numbers: -0.0 is not 0.0."""
    return {
        field.name: table.column(field.name).combine_chunks().view(pa.int64()).to_pylist()
        for field in table.schema
        if field.type == pa.float64()
    }


def check_same(calls: Sequence[CallExecution]) -> None:
    """Compare both ways, to the last bit."""
    found, misfits = quickly(batch_of(calls))
    expected, expected_misfits = carefully(calls)
    for one, other in zip(found, expected, strict=True):
        one.validate(full=True)
        assert one.schema == other.schema
        assert one.equals(other)
        assert bits(one) == bits(other)
    assert misfits == expected_misfits


def check_quick(calls: Sequence[CallExecution]) -> None:
    """Compare both ways, and make sure that the quick one was taken."""
    asked = batch_of(calls)
    found, misfits = quickly(Batch(asked.raws, asked.sources, never))
    assert misfits == 0
    for one, other in zip(found, carefully(calls)[0], strict=True):
        assert one.equals(other)


@settings(max_examples=examples(50))
@given(rows=st.lists(ROWS, min_size=1, max_size=5), source=st.sampled_from(SOURCES))
def test_rows_of_no_list_come_out_the_same(rows: Any, source: CallSource) -> None:
    """Whatever keys and values rows have, both ways give the same tables."""
    if calls := calls_of(*rows, source=source):
        check_same(calls)


@settings(max_examples=examples(75))
@given(rows=st.lists(st.tuples(records(), st.sampled_from(SOURCES)), min_size=1, max_size=6))
def test_rows_of_all_lists_come_out_the_same(rows: list[tuple[bytes, CallSource]]) -> None:
    """So do records of both dialects, mixed and with odd things in them."""
    if calls := [call for record, source in rows for call in calls_of(record, source=source)]:
        check_same(calls)


@pytest.mark.parametrize(
    "row",
    [
        samples.served_snapshot_row(original_call_execution_id=""),
        samples.served_snapshot_row(avg_agent_latency_ms=800, response_time=0),
        samples.served_version_row(scenario={"id": "", "name": None}, scenario_id=""),
        samples.served_row(avg_agent_latency=2**60, scenario={"name": "S"}, scenario_id=None),
        samples.served_version_row(transcript=None, updated_at="2026-01-08T10:00:00"),
        b'{"id":"1","id":"2","status":"a","status":"b","odd":1,"odd":2,"\\u00e9":0.10,"n":1e999}',
        b'{ "transcripts" : [ ] ,"duration_seconds" :1, "id" :"1" , "tool_outputs":null }',
    ],
)
def test_what_is_seldom_comes_out_the_same(row: Any) -> None:
    """Empty ids, doubled keys, escapes, blanks and units that depend on other keys: both ways agree."""
    for source in SOURCES:
        check_quick(calls_of(row, row, source=source))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
@pytest.mark.parametrize("sample", SAMPLES)
def test_ordinary_rows_go_the_quick_way(sample: Any, source: CallSource) -> None:
    """Not one row of either dialect is restored as a call, whichever list it is from."""
    check_quick(calls_of(sample(), sample(id="2", transcript=[]), sample(id="3"), source=source))


@pytest.mark.anyio
async def test_pages_of_all_lists_go_the_quick_way(server: StandInServer) -> None:
    """Nor is one of whole pages, of all three kinds of list."""
    async with open_session(server) as session:
        for source in all_lists(server):
            page = await session.get_page(source, page=1, limit=100)
            assert page.calls
            check_quick(page.calls)


@pytest.mark.parametrize("recording", RECORDED_PAGES)
def test_recorded_pages_go_the_quick_way(recording: Recording) -> None:
    """Nor one that the vendor's server answered."""
    check_quick(recorded_calls(recording))


def test_an_empty_transcript_that_a_detail_told_is_no_withheld_one() -> None:
    """What a list withholds is null, but what a detail said of the call stands, whichever way it goes."""
    row = {"id": "1", "transcript": [], "duration_seconds": 1}
    calls = calls_of(row, row, {**row, "overall_score": INEXACT}, source=EXECUTION)
    calls[2].transcript = ()  # as restoring leaves it, where the detail said so
    batch = Batch([call.raw for call in calls], [EXECUTION] * 3, calls.__getitem__, has_detail={1, 2})
    for asked in (batch, attrs.evolve(batch, raws=batch.raws[:2])):
        (table, _), _ = quickly(asked)
        assert table.column("transcript").to_pylist() == [None, [], []][: len(asked.raws)]


def test_rows_that_need_care_hold_up_no_others_and_keep_their_places() -> None:
    """Rows of another shape go the quick way beside them, and all come out in the order they were given."""
    plain = {"id": "plain", "status": "completed"}
    rows: list[Any] = [plain, {"id": "odd", 'a"b': 1}, {"id": "inexact", "overall_score": INEXACT}, plain]
    rows.append(samples.served_snapshot_row(id="snapshot"))
    calls = calls_of(*rows, *rows)
    restored, restore = noted(calls)
    (table, evaluations), misfits = quickly(attrs.evolve(batch_of(calls), restore=restore))
    assert table.column("id").to_pylist() == [call.id for call in calls]
    assert evaluations.column("call_id").to_pylist() == ["snapshot", "snapshot"]
    assert restored == ["odd", "inexact"] * 2
    assert misfits == 2
    check_same(calls)


@pytest.mark.parametrize(
    "odd",
    [
        {"overall_score": INEXACT},
        {"user_wpm": HUGE},
        {"transcript": [{"content": 5}]},
        {"transcript": [{"content": "a", "start_time_seconds": INEXACT}]},
        {"eval_outputs": [1]},
        {"scenario": {"id": "inner"}, "scenario_id": "outer"},
        {"is_snapshot": True, "created_at": None, "snapshot_timestamp": None, "response_time": 500},
        {'quoted"key': 1},
        {"session_id": 12345},
        {"is_snapshot": "yes"},
        {"start_time": "0001-01-01T00:00:00+14:00"},
        {"snapshot_timestamp": "9999-12-31T23:59:59-00:01"},
        {"scenario": {"id": "a", "name": 5}},
    ],
)
def test_what_needs_care_gets_it(odd: dict[str, Any]) -> None:
    """Records with values that fit no column, or with keys that don't tell the unit, are decoded as calls."""
    calls = calls_of(samples.served_row(**odd))
    with pytest.raises(AssertionError, match="row 0 goes the careful way"):
        check_quick(calls)
    check_same(calls)


def test_rows_of_many_shapes_come_out_right() -> None:
    """However many sets of keys there are, every row is in its place; most of them go the careful way."""
    rows = [{"id": str(number), f"key{number % 40}": number} for number in range(200)]
    calls = calls_of(*rows)
    check_same(calls)


def test_shapes_are_learnt_after_many_others() -> None:
    """An odd beginning costs the rest of a file nothing."""
    maker = BatchMaker(pa, SOURCES, evaluations=False)
    for start in range(0, 400, 10):
        maker.make(batch_of(calls_of(*({"id": "1", f"key{start + number}": 1} for number in range(10)))))
    ordinary = batch_of(calls_of(samples.served_row(), samples.served_row()))
    maker.make(attrs.evolve(ordinary, restore=never))


def test_a_record_that_does_not_decode_is_an_error() -> None:
    """Neither way takes what is no record: the error of restoring it is the writer's own."""
    (call,) = calls_of({"id": "1"})
    with pytest.raises(DecodingError, match="no record"):
        quickly(attrs.evolve(batch_of([call]), raws=[b'{"id":5}'], restore=refused))
