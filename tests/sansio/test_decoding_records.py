"""Call records of every listing and both dialects: names, units, and what an absent key means."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from futureagi_async._sansio import requests
from futureagi_async._sansio.decoding import Checks
from futureagi_async._sansio.decoding.fragments import Fragment, id_of
from futureagi_async._sansio.decoding.nested import structure_column
from futureagi_async.errors import DecodingError
from futureagi_async.models import CallExecution, Column, EvalOutput, Scenario, TranscriptTurn
from futureagi_async.sources import CallSource
from tests.support import samples
from tests.support.samples import (
    CALL_ID,
    EVAL_ID,
    EXECUTION,
    LENIENT,
    RUN_TEST,
    SCENARIO_ID,
    SNAPSHOT_ID,
    STRICT,
    VERSION,
    changed,
    decode_detail,
    decode_page,
    decode_row,
    envelope,
)

TEN = datetime(2026, 2, 1, 10, tzinfo=UTC)

EXPECTED: dict[str, tuple[samples.Row, CallSource | None, dict[str, Any]]] = {
    "served call": (
        samples.served_row(),
        RUN_TEST,
        {
            "status": "completed",
            "timestamp": TEN + timedelta(minutes=5, milliseconds=250),
            "start_time": TEN,
            "created_at": None,
            "duration": 61,
            "scenario": Scenario(SCENARIO_ID, "Refund"),
            "response_time": 1.25,
            "avg_agent_latency": 0.9,
            "avg_stop_time_after_interruption": 0.35,
            "user_interruption_rate": 1.97,
            "talk_ratio": 1.4,
            "avg_latency_ms": None,
            "customer_name": "+15550100",
            "audio_url": "https://audio.example/a.wav",
            "simulator_agent_name": "Simulator",
            "simulator_agent_id": None,
            "is_snapshot": False,
            "call_execution_id": CALL_ID,
            "extra": {"duration_seconds": 61, "response_time_ms": 1250, "avg_agent_latency_ms": 900}
            | {"cost_cents": 12, "provider": "vapi"},
        },
    ),
    "served chat": (
        samples.served_chat_row(),
        None,
        {
            "duration": 33.25,
            "avg_agent_latency": None,
            "avg_stop_time_after_interruption": None,
            "total_tokens": 300.5,
            "avg_latency_ms": 640,
            "audio_url": None,
            "source": None,
            "simulation_call_type": "text",
        },
    ),
    "served snapshot": (
        samples.served_snapshot_row(),
        RUN_TEST,
        {
            "id": SNAPSHOT_ID,
            "call_execution_id": CALL_ID,
            "status": None,
            "call_type": "outboundPhoneCall",
            "response_time": 1.25,
            "avg_agent_latency": 0.8,
            "avg_stop_time_after_interruption": 0.4,
            "is_snapshot": True,
            "snapshot_timestamp": TEN - timedelta(hours=1),
            "timestamp": TEN - timedelta(hours=1),
            "rerun_type": "call_and_eval",
            "extra": {"error_localizer_tasks": []},
        },
    ),
    "served version row": (
        samples.served_version_row(),
        VERSION,
        {
            "timestamp": TEN + timedelta(minutes=5),
            "start_time": TEN,
            "created_at": TEN - timedelta(minutes=1),
            "duration": 61,
            "response_time": 1.25,
            "scenario": Scenario(None, "Refund"),
            "customer_name": "+15550100",
            "audio_url": "https://audio.example/v.wav",
            "avg_agent_latency": None,
            "eval_metrics": None,
            "scenario_columns": None,
            "recordings": None,
        },
    ),
    "documented detail": (
        samples.documented_row(),
        None,
        {
            "start_time": TEN - timedelta(hours=2),
            "timestamp": TEN + timedelta(minutes=5),
            "duration": 61.5,
            "response_time": 1.25,
            "avg_agent_latency": 0.9,
            "avg_stop_time_after_interruption": 0.35,
            "simulator_agent_name": "Simulator",
            "simulator_agent_id": "sim-1",
            "storage_cost": 0,
            "total_cost": 0.06,
            "scenario_columns": [{"column_name": "persona", "value": "Ada"}],
            "tool_outputs": {"refund": {"value": "done"}},
            "rerun_snapshots": (),
            "extra": {},
        },
    ),
    "documented run-test row": (
        samples.documented_run_test_row(),
        RUN_TEST,
        {
            "scenario": Scenario(SCENARIO_ID, "Refund"),
            "created_at": TEN - timedelta(minutes=1),
            "timestamp": None,
            "avg_agent_latency": 0.9,
        },
    ),
    "documented snapshot": (
        samples.documented_run_test_row(is_snapshot=True, original_call_execution_id=CALL_ID),
        RUN_TEST,
        {"is_snapshot": True, "response_time": 1.25, "avg_agent_latency": 0.9, "call_execution_id": CALL_ID},
    ),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_every_kind_of_row(case: str) -> None:
    """A row gives the documented fields in their documented units, whatever its listing calls them."""
    row, source, expected = EXPECTED[case]
    call = decode_detail(row) if source is None else decode_row(row, source)
    assert {name: getattr(call, name) for name in expected} == expected
    assert call.source == source
    assert json.loads(call.raw) == row


@pytest.mark.parametrize("case", EXPECTED)
def test_no_field_is_left_unset(case: str) -> None:
    """Every field of a decoded call can be read, and every key sent is in a field or in ``extra``."""
    row, source, _ = EXPECTED[case]
    call = decode_row(row, source or RUN_TEST)
    names = {field.name for field in attrs.fields(CallExecution)}
    for name in names:
        getattr(call, name)
    renamed = {"scenario_name", "started_at", "updated_at", "recording_url", "customer_number", "transcripts"}
    renamed |= {"duration_seconds", "response_time_seconds", "simulatorAgentName", "simulatorAgentId"}
    assert set(row) <= names | set(call.extra) | renamed


@pytest.mark.parametrize(
    ("sent", "field", "value", "left_over"),
    [
        ({"duration": 5, "duration_seconds": 6}, "duration", 5, {"duration_seconds": 6}),
        ({"duration": None, "duration_seconds": 6}, "duration", None, {"duration_seconds": 6}),
        ({"duration_seconds": 6}, "duration", 6, {}),
        ({"duration_seconds": None}, "duration", None, {}),
        ({}, "duration", None, {}),
        ({"response_time": 1.5, "response_time_ms": 9}, "response_time", 1.5, {"response_time_ms": 9}),
        ({"response_time": None, "response_time_ms": 9}, "response_time", None, {"response_time_ms": 9}),
        ({"response_time_seconds": 2, "response_time_ms": 9}, "response_time", 2, {"response_time_ms": 9}),
        ({"response_time_ms": 2500}, "response_time", 2.5, {}),
        ({"response_time_ms": None}, "response_time", None, {}),
        ({"avg_agent_latency": 0.5}, "avg_agent_latency", 0.5, {}),
        ({"avg_agent_latency_ms": 500}, "avg_agent_latency", 0.5, {}),
        (
            {"avg_agent_latency": 500, "avg_agent_latency_ms": None},
            "avg_agent_latency",
            0.5,
            {"avg_agent_latency_ms": None},
        ),
        ({"scenario": "A", "scenario_name": "B"}, "scenario", Scenario(None, "A"), {"scenario_name": "B"}),
        ({"scenario": None, "scenario_name": "B"}, "scenario", None, {"scenario_name": "B"}),
        ({"scenario": {"id": "i", "name": None}}, "scenario", Scenario("i", None), {}),
        ({"scenario": {"name": "A"}, "scenario_id": "s"}, "scenario", Scenario("s", "A"), {}),
        ({"scenario": {}}, "scenario", Scenario(None, None), {}),
        ({"simulatorAgentName": "a"}, "simulator_agent_name", "a", {}),
        (
            {"simulatorAgentName": "a", "simulator_agent_name": "b"},
            "simulator_agent_name",
            "b",
            {"simulatorAgentName": "a"},
        ),
        ({"customer_number": "5"}, "customer_name", "5", {}),
        ({"recording_url": "u"}, "audio_url", "u", {}),
        ({"status": "teleporting"}, "status", "teleporting", {}),
        ({"is_snapshot": None}, "is_snapshot", False, {}),
        ({"turn_count": 2.5}, "turn_count", 2.5, {}),
        ({"input_tokens": 2**53 + 1}, "input_tokens", 2**53 + 1, {}),
        ({"newField": {"a": [1, None]}}, "status", None, {"newField": {"a": [1, None]}}),
    ],
)
def test_first_key_present_fills_the_field(
    sent: samples.Row, field: str, value: object, left_over: dict[str, object]
) -> None:
    """The first key present decides, null included; whatever filled no field is in ``extra``."""
    call = decode_row({"id": "a", **sent})
    assert getattr(call, field) == value
    assert call.extra == left_over


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-02-01T10:00:00Z", TEN),
        ("2026-02-01T10:00:00.123456Z", TEN + timedelta(microseconds=123456)),
        ("2026-02-01T10:00:00", TEN),
        ("2026-02-01T10:00:00+05:30", TEN.replace(tzinfo=timezone(timedelta(hours=5, minutes=30)))),
        (None, None),
    ],
)
@pytest.mark.parametrize("name", ["timestamp", "updated_at", "created_at", "start_time", "started_at"])
def test_times_are_aware(name: str, text: str | None, moment: datetime | None) -> None:
    """Times carry a zone; one without is the server's, which is UTC."""
    call = decode_row({"id": "a", name: text})
    field = {"updated_at": "timestamp", "started_at": "start_time"}.get(name, name)
    found = getattr(call, field)
    assert found == moment
    assert found is None or found.tzinfo is not None


@pytest.mark.parametrize(
    ("row", "source", "turns"),
    [
        (samples.served_row(transcript=[]), EXECUTION, None),
        (samples.served_row(transcript=None), EXECUTION, None),
        (samples.served_row(transcript=...), EXECUTION, None),
        (samples.documented_row(transcript=[]), EXECUTION, ()),
        (samples.served_row(transcript=[]), RUN_TEST, ()),
        (samples.served_version_row(transcripts=[]), VERSION, ()),
        (samples.served_version_row(transcripts=[], simulation_call_type="text"), VERSION, None),
        (samples.documented_row(transcript=[]), VERSION, ()),
    ],
)
def test_withheld_or_empty(row: samples.Row, source: CallSource, turns: tuple[()] | None) -> None:
    """A transcript that the listing withholds is None; one in which nothing was said is empty."""
    assert decode_row(row, source).transcript == turns


def test_empty_transcript_of_a_detail() -> None:
    """A detail withholds nothing: an empty transcript is empty."""
    assert decode_detail(samples.served_row(transcript=[])).transcript == ()


def test_nested_snapshots_are_calls() -> None:
    """Rerun snapshots inside a call are calls of the same list that know their original."""
    row = samples.served_row(rerun_snapshots=[samples.nested_snapshot(), samples.nested_snapshot(id="b")])
    call = decode_row(row, EXECUTION)
    assert call.rerun_snapshots is not None
    assert [snapshot.id for snapshot in call.rerun_snapshots] == [SNAPSHOT_ID, "b"]
    snapshot = call.rerun_snapshots[0]
    assert (snapshot.is_snapshot, snapshot.call_execution_id, snapshot.source) == (True, CALL_ID, EXECUTION)
    assert (snapshot.duration, snapshot.response_time, snapshot.avg_agent_latency) == (60, 1.5, 0.7)
    assert snapshot.avg_stop_time_after_interruption == 0.3
    assert snapshot.transcript is not None
    assert len(snapshot.transcript) == 1
    assert json.loads(snapshot.raw) == samples.nested_snapshot()


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
