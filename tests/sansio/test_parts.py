"""Nested parts of a record: turns, evaluations, columns, and where a wrong shape stood."""

import json
from typing import Any

import pytest

from futureagi_async._sansio import requests
from futureagi_async._sansio.decoding import Checks
from futureagi_async._sansio.decoding.fragments import Fragment, id_of
from futureagi_async._sansio.decoding.nested import structure_column
from futureagi_async.errors import DecodingError
from futureagi_async.models import Column, EvalOutput, TranscriptTurn
from tests.sansio import samples
from tests.sansio.pages import LENIENT, STRICT, decode_detail, decode_page, envelope
from tests.sansio.samples import EVAL_ID, EXECUTION, changed

TURNS: list[tuple[samples.Row, tuple[object, ...], samples.Row]] = [
    (
        samples.served_turn(),
        ("assistant", "Grüß Gott, what can I do?", 1.7, 3.0),
        {"id": "t1", "start_time_ms": 1200, "end_time_ms": 2500}
        | {"confidence_score": 0.9, "created_at": "2026-02-01T10:00:00Z"},
    ),
    (
        samples.chat_turn(),
        ("user", "Hello.\nAnyone there?", None, None),
        {"id": "t2", "content": [{"type": "text", "text": "Hello."}], "session_id": "s9", "tool_calls": []}
        | {"created_at": "2026-02-01T10:00:00Z"},
    ),
    (
        {"speaker_role": "user", "content": "Hi.", "start_time_ms": 500, "end_time_ms": 0},
        ("user", "Hi.", 0.5, None),
        {},
    ),
    ({"role": "user", "content": "Hi."}, ("user", "Hi.", None, None), {}),
    (
        {"role": "user", "speaker_role": "bot", "content": ""},
        ("user", "", None, None),
        {"speaker_role": "bot"},
    ),
    ({"role": None, "content": None}, (None, "", None, None), {}),
    ({}, (None, "", None, None), {}),
    ({"role": "tool", "messages": []}, ("tool", "", None, None), {}),
    (
        {"role": "dreamer", "content": [{"text": "Hm."}]},
        ("dreamer", "", None, None),
        {"content": [{"text": "Hm."}]},
    ),
    ({"start_time_ms": 0, "end_time_ms": 250.5}, (None, "", 0.0, 0.2505), {}),
    ({"start_time_ms": None, "end_time_ms": None}, (None, "", None, None), {}),
    ({"end_time_seconds": None, "end_time_ms": 0}, (None, "", None, None), {"end_time_ms": 0}),
    ({"start_time_seconds": 2, "start_time_ms": 9}, (None, "", 2, None), {"start_time_ms": 9}),
]


@pytest.mark.parametrize(("sent", "expected", "extra"), TURNS)
def test_turns_in_any_shape(sent: samples.Row, expected: tuple[object, ...], extra: samples.Row) -> None:
    """Role, text and seconds come from whichever keys were sent; the other keys are in ``extra``."""
    call = decode_detail({"id": "a", "transcript": [sent]})
    assert call.transcript is not None
    (turn,) = call.transcript
    assert (turn.role, turn.content, turn.start_seconds, turn.end_seconds) == expected
    assert turn.extra == extra
    assert turn == TranscriptTurn(*expected, extra=extra)  # type: ignore[arg-type]


EVALS: list[tuple[Any, EvalOutput]] = [
    (
        samples.served_eval(),
        EvalOutput(EVAL_ID, "Tone", 85.5, "score", "Friendly.", "Completed"),
    ),
    (samples.raw_eval(), EvalOutput(EVAL_ID, "Safe", "Passed", "Pass/Fail", "Fine.", "completed")),
    (
        samples.raw_eval(error="It broke."),
        EvalOutput(EVAL_ID, "Safe", "Passed", "Pass/Fail", "Fine.", "completed", "It broke."),
    ),
    (
        samples.served_eval(error=True, value=None),
        EvalOutput(EVAL_ID, "Tone", None, "score", "Friendly.", "Completed", True),
    ),
    (
        samples.served_eval(error=None, value=False),
        EvalOutput(EVAL_ID, "Tone", False, "score", "Friendly.", "Completed"),
    ),
    (
        {"value": None, "type": None, "status": "skipped", "skipped": True},
        EvalOutput(EVAL_ID, status="skipped", skipped=True),
    ),
    ({"output": None, "status": "skipped"}, EvalOutput(EVAL_ID, status="skipped", skipped=True)),
    ({}, EvalOutput(EVAL_ID, pending=True)),
    ({"status": "pending"}, EvalOutput(EVAL_ID, status="pending", pending=True)),
    ({"status": "error"}, EvalOutput(EVAL_ID, status="error")),
    ({"value": 1, "output": 2, "type": "a", "output_type": "b"}, EvalOutput(EVAL_ID, value=1, type="a")),
    ({"value": {"score": 1}, "new": 5}, EvalOutput(EVAL_ID, value={"score": 1})),
    (0.75, EvalOutput(EVAL_ID, value=0.75)),
    ("Passed", EvalOutput(EVAL_ID, value="Passed")),
    (True, EvalOutput(EVAL_ID, value=True)),
    (["a", "b"], EvalOutput(EVAL_ID, value=["a", "b"])),
    (None, EvalOutput(EVAL_ID, value=None)),
]


@pytest.mark.parametrize(("sent", "expected"), EVALS)
def test_evaluations_in_either_shape(sent: Any, expected: EvalOutput) -> None:
    """An evaluation reads the same in both shapes; legacy bare values are values."""
    call = decode_detail({"id": "a", "eval_outputs": {EVAL_ID: sent}})
    assert call.eval_outputs == {EVAL_ID: expected}
    assert type(call.eval_outputs[EVAL_ID].value) is type(expected.value)


@pytest.mark.parametrize(("sent", "expected"), [(None, None), ({}, {}), (..., None)])
def test_no_evaluations(sent: Any, expected: object) -> None:
    """No evaluations at all are told from none yet."""
    assert decode_detail(samples.served_row(eval_outputs=sent)).eval_outputs == expected


COLUMN = {
    "id": "scenario_1_dataset_2",
    "column_name": "Outcome",
    "visible": False,
    "type": "scenario_dataset_column",
    "data_type": "text",
    "scenario_id": "1",
    "dataset_id": None,
    "eval_config": {"a": [1]},
    "dataset_column_ids": ["2"],
}


def test_columns() -> None:
    """A column keeps its known keys as fields and the others in ``extra``."""
    expected = {key: value for key, value in COLUMN.items() if key != "dataset_column_ids"}
    found = structure_column(
        Fragment(json.dumps(COLUMN).encode(), requests.TEST_EXECUTION, "$.column_order[0]")
    )
    assert found == Column(**expected, extra={"dataset_column_ids": ["2"]})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        found.eval_config["a"] = 5  # type: ignore[index]


def wrong_turn(**changes: Any) -> list[samples.Row]:
    """Build a transcript whose second turn is wrong."""
    return [samples.served_turn(), changed(samples.served_turn(), changes)]


WRONG_SHAPES: list[tuple[str, Any, str]] = [
    ("transcript", {}, "transcript"),
    ("transcript", "text", "transcript"),
    ("transcript", [None], "transcript[0]"),
    ("transcript", ["text"], "transcript[0]"),
    ("eval_outputs", [], "eval_outputs"),
    ("eval_outputs", "text", "eval_outputs"),
    ("eval_metrics", [], "eval_metrics"),
    ("scenario_columns", "text", "scenario_columns"),
    ("recordings", [], "recordings"),
    ("recordings", "https://audio.example/a.wav", "recordings"),
    ("tool_outputs", 5, "tool_outputs"),
    ("rerun_snapshots", {}, "rerun_snapshots"),
    ("rerun_snapshots", [5], "rerun_snapshots[0]"),
    ("rerun_snapshots", [samples.nested_snapshot(), {"status": "a"}], "rerun_snapshots[1]"),
    ("rerun_snapshots", [samples.nested_snapshot(id=5)], "rerun_snapshots[0].id"),
]
WRONG_SCALARS: list[tuple[str, Any, str]] = [
    ("transcript", wrong_turn(content=5), "transcript[1].content"),
    ("transcript", wrong_turn(content={}), "transcript[1].content"),
    ("transcript", wrong_turn(speaker_role=5), "transcript[1].speaker_role"),
    ("transcript", wrong_turn(messages="Hello."), "transcript[1].messages"),
    ("transcript", wrong_turn(messages=["a", None]), "transcript[1].messages[1]"),
    ("transcript", wrong_turn(start_time_seconds="1"), "transcript[1].start_time_seconds"),
    ("transcript", wrong_turn(start_time_ms=10**400), "transcript[1].start_time_ms"),
    ("transcript", wrong_turn(end_time_ms=True), "transcript[1].end_time_ms"),
    ("eval_outputs", {"a": {"name": 5}}, "eval_outputs[...].name"),
    ("eval_outputs", {"a": {"type": 5}}, "eval_outputs[...].type"),
    ("eval_outputs", {"a": {"reason": []}}, "eval_outputs[...].reason"),
    ("eval_outputs", {"a": {"error": 5}}, "eval_outputs[...].error"),
    ("eval_outputs", {"a": {"skipped": "no"}}, "eval_outputs[...].skipped"),
    ("rerun_snapshots", [samples.nested_snapshot(status=5)], "rerun_snapshots[0].status"),
]


@pytest.mark.parametrize(
    ("name", "value", "place", "checks"),
    [(*case, checks) for case in WRONG_SHAPES for checks in (LENIENT, STRICT)]
    + [(*case, STRICT) for case in WRONG_SCALARS]
    + [("transcript", [{"content": 5}, "text"], "transcript[1]", LENIENT)],
)
def test_wrong_parts_raise_where_they_are_read(name: str, value: Any, place: str, checks: Checks) -> None:
    """A wrong part leaves its record readable, and raises each time it is read itself, with its path."""
    rows = [samples.served_row(), samples.served_row(), samples.served_row(**{name: value})]
    page = decode_page(envelope(rows), checks=checks)
    assert not page.failures
    call = page.calls[2]
    assert call.status == "completed"
    for _ in range(2):
        with pytest.raises(DecodingError) as caught:
            getattr(call, name)
        assert caught.value.json_path == f"$.results[2].{place}"
        assert caught.value.endpoint == requests.RUN_TEST_CALLS
        assert not caught.value.retryable
    assert call.misfits == {}
    detail = decode_detail(rows[2], checks)
    with pytest.raises(DecodingError) as caught:
        getattr(detail, name)
    assert (caught.value.json_path, caught.value.endpoint) == (f"$.{place}", requests.CALL)


def test_wrong_part_of_a_nested_snapshot() -> None:
    """The path leads through call and snapshot to the turn's text, under the key that was sent."""
    snapshot = samples.nested_snapshot(transcripts=wrong_turn(content=5))
    body = envelope([samples.served_row(rerun_snapshots=[snapshot])])
    page = decode_page(body, EXECUTION, checks=STRICT)
    snapshots = page.calls[0].rerun_snapshots
    assert snapshots is not None
    with pytest.raises(DecodingError) as caught:
        _ = snapshots[0].transcript
    assert caught.value.json_path == "$.results[0].rerun_snapshots[0].transcripts[1].content"


LATE_FAULTS = {
    "extra": b'{"id": "a", "x": %s}',
    "scenario_columns": b'{"id": "a", "scenario_columns": [%s]}',
    "eval_metrics": b'{"id": "a", "eval_metrics": {"x": %s}}',
    "tool_outputs": b'{"id": "a", "tool_outputs": {"x": {"value": %s}}}',
}


@pytest.mark.parametrize("name", LATE_FAULTS)
@pytest.mark.parametrize("number", [b"1e999", b"1" * 5000], ids=["float", "int"])
def test_numbers_out_of_range_are_found_late(name: str, number: bytes) -> None:
    """A number that no float or int holds raises `DecodingError` when its part is read."""
    page = decode_page(b'{"count": 1, "results": [%s]}' % (LATE_FAULTS[name] % number))
    with pytest.raises(DecodingError, match=r"\$\.results\[0\]"):
        getattr(page.calls[0], name)


def test_turn_extras_are_found_late() -> None:
    """A turn's other keys are looked into when they are read, and fail with the turn's path."""
    page = decode_page(b'{"count": 1, "results": [{"id": "a", "transcript": [{}, {"x": 1e999}]}]}')
    assert page.calls[0].transcript is not None
    with pytest.raises(DecodingError, match=r"\$\.results\[0\]\.transcript\[1\]"):
        _ = page.calls[0].transcript[1].extra


def test_parts_are_decoded_once() -> None:
    """Reading a part again gives the same object."""
    call = decode_detail(samples.served_row())
    for name in type(call).lazy_fields:
        assert getattr(call, name) is getattr(call, name)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b'{"id": "a"}', "a"),
        (b'{"id": 5}', None),
        (b"{}", None),
        (b"[]", None),
        (b'{"id": "a"', None),
        (b"", None),
    ],
)
def test_id_where_it_can_be_read(raw: bytes, found: str | None) -> None:
    """A failed record's id is told where that much can be read."""
    assert id_of(raw) == found
