"""JSON Lines: records as they were sent, and in our names and units."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import CallExecution
from futureagi_async._sansio import requests
from futureagi_async._sansio.decoding import decode_call
from futureagi_async._sansio.decoding.provider_data import SNAPSHOT_LEVELS
from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.schema import JSON_PARTS
from tests.support import samples
from tests.support.exports import HUGE, ROWS, SOURCES, call_of, calls_of, error_in, normalised_lines, written
from tests.support.samples import VERSION, decode_page, envelope

FIELDS = [field.name for field in attrs.fields(CallExecution) if field.eq]


def line_of_call(call: CallExecution) -> Any:
    """Return a call's line, decoded."""
    (line,) = normalised_lines([call])
    return line


def line_of(**row: Any) -> Any:
    """Return the line of one row, decoded."""
    return line_of_call(call_of(**row))


@given(row=ROWS)
def test_every_line_has_the_models_fields_in_one_order(row: dict[str, Any]) -> None:
    """Whatever a record holds, its line has the fields of the model, then misfits, and their values."""
    for call in calls_of(row):
        (line,) = normalised_lines([call])
        assert list(line) == FIELDS
        bad = {name for name in ("transcript", "eval_outputs", "rerun_snapshots") if error_in(call, name)}
        assert set(line["misfits"] or ()) == bad | set(call.misfits)
        assert line["status"] == call.status
        assert line["overall_score"] == call.overall_score
        assert line["extra"] == call.extra
        if "transcript" not in bad and call.transcript is not None:
            assert [turn["content"] for turn in line["transcript"]] == [
                turn.content for turn in call.transcript
            ]
        for name in set(JSON_PARTS) - {"eval_outputs", "rerun_snapshots"}:
            assert line[name] == row.get(name)


def test_both_dialects_give_one_shape() -> None:
    """A documented row and a version row with the same facts differ in nothing but where they come from."""
    documented = {
        "id": "1",
        "timestamp": "2026-01-08T10:00:00+01:00",
        "duration": 3,
        "simulatorAgentName": "Caller",
        "transcript": [{"role": "user", "content": "Hi", "start_time_seconds": 1.5}],
        "eval_outputs": {"e": {"value": 0, "type": "score"}},
        "customer_name": "+41",
    }
    served = {
        "id": "1",
        "updated_at": "2026-01-08T09:00:00Z",
        "duration_seconds": 3,
        "simulator_agent_name": "Caller",
        "transcripts": [{"speaker_role": "user", "content": "Hi", "start_time_ms": 1500}],
        "eval_outputs": {"e": {"output": 0, "output_type": "score"}},
        "customer_number": "+41",
    }
    one, other = normalised_lines(calls_of(documented, served))
    assert one == other
    assert one["timestamp"] == "2026-01-08T09:00:00Z"
    assert one["eval_outputs"]["e"] == {
        "id": "e",
        "name": None,
        "value": 0,
        "type": "score",
        "reason": None,
        "status": None,
        "error": False,
        "skipped": False,
        "pending": False,
    }
    assert one["transcript"] == [
        {"role": "user", "content": "Hi", "start_seconds": 1.5, "end_seconds": None, "extra": {}}
    ]


def test_a_source_is_named_by_place_kind_and_ids() -> None:
    """Each line says which of the export's sources it came from."""
    for index, (source, kind) in enumerate(
        zip(SOURCES, ("run_test", "agent_version", "test_execution"), strict=True)
    ):
        (line,) = normalised_lines(calls_of({"id": "1"}, source=source))
        ids = {name: value for name, value in attrs.asdict(source).items() if name.endswith("_id")}
        assert line["source"] == {"index": index, "kind": kind, **ids}


def test_snapshots_are_normalised_too() -> None:
    """A rerun snapshot inside a call is a call of the same shape."""
    line = line_of(rerun_snapshots=[{"id": "2", "transcripts": [], "odd": 1}])
    (snapshot,) = line["rerun_snapshots"]
    assert list(snapshot) == list(line)
    assert snapshot["is_snapshot"] is True
    assert snapshot["original_call_execution_id"] == "1"
    assert snapshot["extra"] == {"odd": 1}


def test_parts_of_no_known_shape_are_kept_as_sent() -> None:
    """A malformed part spoils nothing else: it is null, and under misfits what was sent."""
    line = line_of(transcript=["said"], eval_outputs=[HUGE], status="failed")
    assert line["transcript"] is None
    assert line["eval_outputs"] is None
    assert line["misfits"] == {"transcript": ["said"], "eval_outputs": [HUGE]}
    assert line["status"] == "failed"


def test_numbers_keep_their_digits() -> None:
    """Free objects and extra are byte for byte; huge whole numbers are never floats."""
    (call,) = calls_of(
        b'{"id":"1","overall_score":12345678901234567890123,"eval_metrics":{"a":0.10},"x":1.0e5}'
    )
    text = written("jsonl", [call], normalised=True)
    assert b'"overall_score":12345678901234567890123,' in text
    assert b'"eval_metrics":{"a":0.10}' in text
    assert b'"extra":{"x":1.0e5}' in text


def test_a_line_is_one_line() -> None:
    """Newlines in texts are escaped; records, which are staged on one line each, have no others."""
    (call,) = calls_of(b'{"id":"1","x":["a\\r\\nb"],"call_summary":"a\\nb"}')
    text = written("jsonl", [call], normalised=True)
    assert text.count(b"\n") == 1
    assert b"\r" not in text
    assert json.loads(text)["call_summary"] == "a\nb"


def nested(levels: int, innermost: bytes) -> bytes:
    """Return a record inside so many others, each a snapshot of the next."""
    record = innermost
    for number in range(1, levels + 1):
        record = b'{"id":"%d","rerun_snapshots":[%b]}' % (number, record)
    return record


@pytest.mark.parametrize("levels", [SNAPSHOT_LEVELS + 1, 300])
@pytest.mark.parametrize(
    "line_of", [line_of_call, lambda call: call.to_dict(include_provider_data=True)], ids=["line", "to_dict"]
)
def test_snapshots_in_snapshots_end_somewhere(levels: int, line_of: Callable[[CallExecution], Any]) -> None:
    """Some levels are followed, with every Python; what is inside them is a misfit as sent."""
    (call,) = calls_of(nested(levels, b'{"id":"0"}'))
    line = line_of(call)
    for followed in range(SNAPSHOT_LEVELS):
        assert line["id"] == str(levels - followed)
        (line,) = line["rerun_snapshots"]
    assert line["rerun_snapshots"] is None
    rest = line["misfits"]["rerun_snapshots"]
    assert json.dumps(rest).count('"id"') == levels - SNAPSHOT_LEVELS


def test_the_outermost_line_says_where_snapshots_end() -> None:
    """Misfits inside snapshots stand among the call's own, by their path."""
    (call,) = calls_of(nested(SNAPSHOT_LEVELS + 1, b'{"id":"0"}'))
    path = "rerun_snapshots[0]." * SNAPSHOT_LEVELS + "rerun_snapshots"
    assert line_of_call(call)["misfits"] == {path: [{"id": "0"}]}


@pytest.mark.parametrize("levels", [SNAPSHOT_LEVELS - 1, SNAPSHOT_LEVELS])
def test_snapshots_in_snapshots_are_followed(levels: int) -> None:
    """Snapshots of snapshots have lines of their own, to the innermost."""
    line = line_of_call(*calls_of(nested(levels, b'{"id":"0"}')))
    for _ in range(levels):
        assert line["misfits"] is None
        (line,) = line["rerun_snapshots"]
    assert (line["id"], line["rerun_snapshots"]) == ("0", None)


ODD = b'{"id":"1","a": 1e5 ,"b":12345678901234567890,"c":"\\u00e9 \xc3\xa9 \\/ \xe2\x80\xa8","d":0.10,"b":2}'
"""Blanks, a huge number, needless escapes, a line separator, a needless zero, a name given twice."""

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.fixed_dictionaries({"id": TEXT, "x": JSON})


def as_sent(record: bytes, *, include_provider_data: bool = False) -> bytes:
    """Return what a call that was read from a record passes on."""
    return decode_call(record, requests.CALL).as_sent(include_provider_data=include_provider_data)


def test_a_record_passes_through_byte_for_byte() -> None:
    """A record without provider data is what the server sent, to the byte."""
    assert as_sent(ODD) == ODD
    assert as_sent(b'{"id":"1"}') == b'{"id":"1"}'


def test_newlines_between_tokens_are_taken_out() -> None:
    """JSON may hold newlines between its tokens; all else stays byte for byte."""
    record = b'{\r\n  "id": "1",\n  "b": [1.0e5,\n "x\\ny", {}]\r}'
    assert as_sent(record) == b'{  "id": "1",  "b": [1.0e5, "x\\ny", {}]}'
    assert as_sent(record, include_provider_data=True) == as_sent(record)
    with_data = b'{\n"id":"1",\n"call_metadata":{\n"a":1},"b":[1,\n2]}'
    assert as_sent(with_data) == b'{"id":"1","b":[1,2]}'
    assert as_sent(with_data, include_provider_data=True) == with_data.replace(b"\n", b"")


@given(record=RECORDS, indent=st.none() | st.integers(0, 3), ascii_only=st.booleans(), keep=st.booleans())
def test_any_record_is_one_line_of_equal_json(
    record: dict[str, Any], indent: int | None, ascii_only: bool, keep: bool
) -> None:
    """Whatever a record holds and however it is laid out, it gives one line that means the same."""
    sent = json.dumps(record, indent=indent, ensure_ascii=ascii_only).encode()
    line = as_sent(sent, include_provider_data=keep)
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line) == record


@pytest.mark.parametrize("key", ["call_metadata", "provider_call_data", "call\\u005fmetadata"])
def test_provider_data_is_left_out(key: str) -> None:
    """A key that may hold third parties' secrets is dropped, all other values stay byte for byte."""
    record = b'{"id": "1" ,"%b":{"user_api_key":"secret"},"n":0.10,"t":"\\u00e9"}' % key.encode()
    assert as_sent(record) == b'{"id":"1","n":0.10,"t":"\\u00e9"}'
    assert as_sent(record, include_provider_data=True) == record


def test_snapshots_inside_a_call_lose_theirs_too() -> None:
    """A test execution's row holds its rerun snapshots, each with provider data of its own."""
    record = (
        b'{"id":"1","rerun_snapshots":[{"id":"2","provider_call_data":{"k":"secret"},"n":0.10},{}],"m":1.0}'
    )
    assert as_sent(record) == b'{"id":"1","rerun_snapshots":[{"id":"2","n":0.10},{}],"m":1.0}'


@pytest.mark.parametrize(
    "snapshots",
    [
        b'{"provider_call_data":"secret"}',
        b'[["provider_call_data"]]',
        b'"provider_call_data"',
        b"1",
    ],
)
def test_snapshots_of_an_unknown_shape_are_not_trusted(snapshots: bytes) -> None:
    """What may hold provider data in a shape nobody documented is passed on as null."""
    assert as_sent(b'{"id":"1","rerun_snapshots":%b}' % snapshots) == b'{"id":"1","rerun_snapshots":null}'


@pytest.mark.parametrize("levels", [1, SNAPSHOT_LEVELS, SNAPSHOT_LEVELS + 1, 300])
def test_snapshots_nested_beyond_measure_are_not_trusted(levels: int) -> None:
    """Snapshots inside snapshots lose their provider data; those too deep inside are passed on as null."""
    passed_on = as_sent(nested(levels, b'{"id":"0","call_metadata":"secret"}'))
    assert b"secret" not in passed_on
    assert passed_on.count(b'"id"') == min(levels, SNAPSHOT_LEVELS) + 1
    assert (b"null" in passed_on) == (levels > SNAPSHOT_LEVELS)


@pytest.mark.parametrize("depth", [1_000, 3_000, 10_000, 100_000])
def test_any_depth_is_passed_on_or_refused(depth: int) -> None:
    """A value is what was sent, whatever Python can follow; else the record is refused."""
    record = b'{"id":"1","call_metadata":1,"odd":%b}' % (b"[" * depth + b"]" * depth)
    try:
        passed_on = as_sent(record)
    except DecodingError as error:
        assert "nested too deeply" in str(error)  # noqa: PT017 - either is right, by version
    else:
        assert passed_on == record.replace(b'"call_metadata":1,', b"")


@pytest.mark.parametrize(
    "record",
    [
        b'{ "id": "1", "said": "the \\"call_metadata\\" key" }',
        b'{ "id": "1", "column": "call_metadata" }',
        b'{ "id": "1", "rerun_snapshots": null, "x": "provider_call_data" }',
        b'{ "id": "1", "rerun_snapshots": [{ "x": "provider_call_data" }] }',
        b'{ "id": "1", "columns": {"call_metadata": 1} }',
    ],
)
def test_the_mere_words_change_nothing(record: bytes) -> None:
    """A record that only mentions the keys, as text or deeper inside, is passed on as it was sent."""
    assert as_sent(record) == record


def copies(call: CallExecution) -> list[CallExecution]:
    """Return a call copied in every way that Python and attrs offer."""
    return [
        pickle.loads(pickle.dumps(call)),
        copy.copy(call),
        copy.deepcopy(call),
        attrs.evolve(call, status="other"),
    ]


def test_copies_pass_on_the_same() -> None:
    """A copy knows its record's bytes, and what of them to leave out, wherever it was made."""
    page = decode_page(envelope([samples.served_version_row(), samples.served_row()]), VERSION)
    for call in page.calls:
        original = call.as_sent(), call.as_sent(include_provider_data=True)
        assert b"provider-secret" not in original[0]
        for copied in copies(call):
            assert (copied.as_sent(), copied.as_sent(include_provider_data=True)) == original
    assert b"provider-secret" in page.calls[0].as_sent(include_provider_data=True)


@pytest.mark.parametrize("keep", [False, True])
def test_a_call_built_by_hand_has_nothing_to_pass_on(keep: bool) -> None:
    """The server sent no record of it, and none is made up."""
    with pytest.raises(ValueError, match="Call 1 was built by hand"):
        CallExecution(id="1").as_sent(include_provider_data=keep)
