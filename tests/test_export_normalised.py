"""JSON Lines in our names and units."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings

from futureagi_async import CallExecution
from futureagi_async.export.formats.schema import JSON_PARTS
from tests.exported import HUGE, ROWS, SOURCES, call_of, calls_of, error_in, normalised_lines, written

FIELDS = [field.name for field in attrs.fields(CallExecution) if field.eq]


def line_of(**row: Any) -> Any:
    """Return the line of one row, decoded."""
    (line,) = normalised_lines([call_of(**row)])
    return line


@settings(deadline=None)
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


def from_further_down(frames: int, calls: list[CallExecution]) -> Any:
    """Return the only line, made with some more frames on the stack."""
    if frames:
        return from_further_down(frames - 1, calls)
    (line,) = normalised_lines(calls)
    return line


@pytest.mark.parametrize("frames", range(8))
def test_snapshots_in_snapshots_end_somewhere(frames: int) -> None:
    """Nested deeper than any program can follow, the innermost are a misfit as sent, wherever that shows."""
    record, depth = b'{"id":"0"}', 400
    for number in range(1, depth):
        record = b'{"id":"%d","rerun_snapshots":[%b]}' % (number, record)
    line = from_further_down(frames, calls_of(record))
    followed, path = 0, "rerun_snapshots"
    top = line["misfits"]
    while "rerun_snapshots" not in line["misfits"]:
        (line,) = line["rerun_snapshots"]
        followed, path = followed + 1, f"rerun_snapshots[0].{path}"
    rest = line["misfits"]["rerun_snapshots"]
    assert top == {path: rest}
    assert 10 < followed < depth
    assert json.dumps(rest).count('"id"') == depth - followed - 1
