"""Call records of every listing and both dialects: names, units, and what an absent key means."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from futureagi_async.models import CallExecution, Scenario
from futureagi_async.sources import CallSource
from tests.sansio import samples
from tests.sansio.pages import decode_detail, decode_row
from tests.sansio.samples import CALL_ID, EXECUTION, RUN_TEST, SCENARIO_ID, SNAPSHOT_ID, VERSION

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
