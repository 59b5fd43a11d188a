"""The quick way of records into CSV and normalised JSON Lines: the same bytes as by the careful way."""

import io
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from futureagi_async import CallExecution, CallSource
from futureagi_async.errors import DecodingError
from futureagi_async.export.formats import open_writer
from futureagi_async.export.formats.csv_writer import EvaluationColumns
from futureagi_async.export.formats.projection import WHOLE, Projection
from futureagi_async.export.formats.records import Batch
from futureagi_async.export.formats.schema import CALLS
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
    encoded,
    never,
    noted,
    recorded_calls,
    records,
    refused,
)
from tests.support.samples import Recording
from tests.support.sessions import open_session
from tests.support.slow import examples

FORMATS = ("csv", "jsonl")
COLUMNS = st.sets(st.sampled_from([name for name in CALLS if name != "id"]), max_size=8)
"""What may be left out."""


def write(
    format_: str, batch: Batch, noted: Sequence[CallExecution], projection: Projection = WHOLE
) -> tuple[bytes, int]:
    """Return what a format makes of a batch, and the calls with misfits."""
    columns = EvaluationColumns()
    for call in noted:
        columns.note(call)
    file = io.BytesIO()
    writer = open_writer(
        format_,
        file,
        sources=SOURCES,
        evaluations=columns.columns(),
        normalised=format_ == "jsonl",
        projection=projection,
    )
    writer.write(batch)
    writer.close()
    return file.getvalue(), writer.misfits


def check_same(calls: Sequence[CallExecution], projection: Projection = WHOLE) -> None:
    """Compare both ways: without bytes to decode, a writer can only restore calls."""
    one, other = EvaluationColumns(), EvaluationColumns()
    one.note_batch(batch_of(calls))
    for call in calls:
        other.note(call)
    assert one.columns() == other.columns()
    for format_ in FORMATS:
        batch = batch_of(calls)
        unreadable = attrs.evolve(batch, raws=[b""] * len(calls))
        assert write(format_, batch, calls, projection) == write(format_, unreadable, calls, projection)


def check_quick(calls: Sequence[CallExecution]) -> None:
    """Make sure that the quick way is taken, and compare it with the other."""
    for format_ in FORMATS:
        write(format_, attrs.evolve(batch_of(calls), restore=never), calls)
    check_same(calls)


@settings(max_examples=examples(75))
@given(rows=st.lists(ROWS, min_size=1, max_size=5), source=st.sampled_from(SOURCES))
def test_rows_of_no_list_come_out_the_same(rows: Any, source: CallSource) -> None:
    """Whatever keys and values rows have, both ways give the same bytes."""
    check_same(calls_of(*rows, source=source))


@settings(max_examples=examples(100))
@given(
    rows=st.lists(st.tuples(records(), st.sampled_from(SOURCES)), min_size=1, max_size=6), left_out=COLUMNS
)
def test_rows_of_all_lists_come_out_the_same(
    rows: list[tuple[bytes, CallSource]], left_out: set[str]
) -> None:
    """So do records of both dialects, mixed and with odd things in them, whatever is left out of them."""
    calls = [call for record, source in rows for call in calls_of(record, source=source)]
    check_same(calls, Projection.without(left_out))


@pytest.mark.parametrize(
    "row",
    [
        samples.served_snapshot_row(original_call_execution_id=""),
        samples.served_snapshot_row(avg_agent_latency_ms=800, response_time=0),
        samples.served_version_row(scenario={"id": "", "name": None}, scenario_id=""),
        samples.served_row(avg_agent_latency=2**60, scenario={"name": "S"}, scenario_id=None),
        samples.served_version_row(transcript=None, updated_at="2026-01-08T10:00:00"),
        samples.served_row(start_time="2026-01-08T10:00:00.123456789+05:30", overall_score=1e300),
        samples.served_row(overall_score=INEXACT, user_wpm=HUGE, talk_ratio=-0.0, total_cost=1e22),
        samples.served_row(status="=1+1", call_summary='\t"said"\r\n@', customer_name="", session_id="'s"),
        samples.served_row(eval_metrics=-1, recordings="=A1", tool_outputs=[], scenario_columns=True),
        samples.served_row(eval_outputs={"": {"value": {"a": [1]}, "error": "=x"}, "b": None, "c": ["d"]}),
        samples.served_row(transcript=[{"content": "a\nb", "role": "-"}, {"content": None, "role": None}]),
        samples.served_row(transcript=[{"speaker_role": "", "messages": ["a", "b\nc"], "content": "d"}]),
        samples.served_row(transcript=[{"start_time_ms": 0, "end_time_ms": 0, "x y": [1.0, {"z": 1e5}]}]),
        b'{"id":"1","id":"2","status":"a","status":"b","odd":1,"odd":2,"\\u00e9":0.10,"n":1e999}',
        b'{ "transcripts" : [ ] ,"duration_seconds" :1, "id" :"1" , "tool_outputs":null }',
    ],
)
def test_what_is_seldom_comes_out_the_same(row: Any) -> None:
    """Formulas, quotes, empty texts, units, escapes and all kinds of numbers: both ways agree."""
    for source in SOURCES:
        check_quick(calls_of(row, row, source=source))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
@pytest.mark.parametrize("sample", SAMPLES)
def test_ordinary_rows_go_the_quick_way(sample: Any, source: CallSource) -> None:
    """Not one row of either dialect is restored as a call, whichever list it is from."""
    row = {**sample(), "rerun_snapshots": []}
    check_quick(calls_of(row, {**row, "id": "2", "transcript": []}, {**row, "id": "3"}, source=source))


@pytest.mark.anyio
async def test_pages_of_all_lists_come_out_the_same(server: StandInServer) -> None:
    """So do whole pages, of all three kinds of list."""
    async with open_session(server) as session:
        for source in all_lists(server):
            page = await session.get_page(source, page=1, limit=100)
            assert page.calls
            check_same(page.calls)


@pytest.mark.parametrize("recording", RECORDED_PAGES)
def test_recorded_pages_come_out_the_same(recording: Recording) -> None:
    """So does what the vendor's server answered."""
    check_same(recorded_calls(recording))


def test_an_empty_transcript_that_a_detail_told_is_no_withheld_one() -> None:
    """What a list withholds is null, but what a detail said of the call stands, whichever way it goes."""
    row = {"id": "1", "transcript": [], "duration_seconds": 1}
    calls = calls_of(row, row, {**row, "overall_score": "odd"}, source=EXECUTION)
    calls[2].transcript = ()  # as restoring leaves it, where the detail said so
    batch = attrs.evolve(batch_of(calls), has_detail={1, 2})
    lines = write("jsonl", batch, calls)[0].splitlines()
    assert [b'"transcript":[]' in line for line in lines] == [False, True, True]
    cells = write("csv", batch, calls)[0].splitlines()[1:]
    assert [b',0,"",' in line for line in cells] == [False, True, True]


@pytest.mark.parametrize("format_", FORMATS)
def test_rows_that_need_care_hold_up_no_others_and_keep_their_places(format_: str) -> None:
    """Rows of another shape go the quick way beside them, and all come out in the order they were given."""
    rows: list[Any] = [
        {"id": "plain", "status": "completed"},
        {"id": "odd", 'a"b': 1},
        {"id": "misfit", "overall_score": "high"},
        samples.served_snapshot_row(id="snapshot"),
    ]
    calls = calls_of(*rows, *rows)
    restored, restore = noted(calls)
    found, misfits = write(format_, attrs.evolve(batch_of(calls), restore=restore), calls)
    lines = found.splitlines()[format_ == "csv" :]
    assert [call.id.encode() in line for call, line in zip(calls, lines, strict=True)] == [True] * 8
    assert restored == ["odd", "misfit"] * 2
    assert misfits == 2
    check_same(calls)


@pytest.mark.parametrize(
    "odd",
    [
        {"transcript": [{"content": 5}]},
        {"transcript": [{"content": ["a"]}, {"content": ["a"]}]},
        {"eval_outputs": [1]},
        {"session_id": 12345},
        {"is_snapshot": "yes"},
        {"is_snapshot": True, "created_at": None, "snapshot_timestamp": None, "response_time": 500},
        {"start_time": "0001-01-01T00:00:00+14:00"},
        {"snapshot_timestamp": "9999-12-31T23:59:59-00:01"},
        {"rerun_snapshots": [samples.nested_snapshot(), {"id": "2", "status": 5}]},
        {"scenario": {"id": "inner"}, "scenario_id": "outer"},
    ],
)
def test_what_needs_care_gets_it(odd: dict[str, Any]) -> None:
    """Values that fit no field, clashing ids and snapshots come out as they do of calls."""
    check_same(calls_of(samples.served_row(**odd), samples.served_row()))


def test_turns_of_several_shapes_come_out_right() -> None:
    """Turns with other keys than the first one's, in another call or in one, are none of its misfits."""
    first = [{"id": "a", "role": "user", "content": "x", "start_time_ms": 5}]
    others = [[{"role": "user", "content": "y"}], [*first, {"content": "z"}], [{'a"b': 1, "content": "q"}]]
    calls = calls_of(*({"id": "1", "transcript": turns} for turns in (first, *others)))
    check_same(calls)
    check_same(calls[::-1])


@pytest.mark.parametrize("format_", FORMATS)
def test_a_record_that_does_not_decode_is_an_error(format_: str) -> None:
    """Neither way takes what is no record: the error of restoring it is the writer's own."""
    (call,) = calls_of({"id": "1"})
    with pytest.raises(DecodingError, match="no record"):
        write(format_, attrs.evolve(batch_of([call]), raws=[encoded({"id": 5})], restore=refused), [])
