"""One call's bytes -> `CallExecution`: scalars at once, nested parts when they are read."""

from typing import Any

import msgspec
from msgspec import UNSET

from futureagi_async._sansio.decoding.copying import make_copy
from futureagi_async._sansio.decoding.faults import JSON_FAULTS
from futureagi_async._sansio.decoding.nested import NestedReader
from futureagi_async._sansio.decoding.parts import Part, Siblings, Structure
from futureagi_async._sansio.decoding.wire import CallWire, ScenarioWire
from futureagi_async.models import CallExecution, Scenario
from futureagi_async.models.lazy import defer

_CALL = msgspec.json.Decoder(CallWire)

_copy = make_copy()


def structure_call(structure: Structure, part: Part) -> CallExecution:
    """Structure a call from its record's bytes; ``structure`` is for its nested parts, later."""
    try:
        wire = _CALL.decode(part.raw)
    except JSON_FAULTS as error:
        raise part.fault(error) from None
    siblings = part.siblings or Siblings(part.endpoint, part.path)
    if siblings.reader is None:
        siblings.reader = NestedReader(structure, siblings)
    call = CallExecution.__new__(CallExecution)
    _copy(call, wire)
    _compute(call, wire)
    call.is_snapshot = bool(wire.is_snapshot) or siblings.snapshots_of is not None
    call.original_call_execution_id = wire.original_call_execution_id or siblings.snapshots_of
    call.source = siblings.source
    call.raw = part.raw
    defer(call, siblings.reader, index=part.index)
    return call


def _compute(call: CallExecution, wire: CallWire) -> None:
    """Fill the fields that need more than a copy: the scenario, and latencies in seconds."""
    scenario = wire.scenario if wire.scenario is not UNSET else wire.scenario_name
    if isinstance(scenario, ScenarioWire):
        call.scenario = Scenario(scenario.id or wire.scenario_id, scenario.name)
    elif scenario is UNSET or scenario is None:
        call.scenario = None
    else:
        call.scenario = Scenario(wire.scenario_id, scenario)
    in_ms = _sends_milliseconds(wire)
    call.avg_agent_latency = _seconds(wire.avg_agent_latency, wire.avg_agent_latency_ms, in_ms)
    call.avg_stop_time_after_interruption = _seconds(
        wire.avg_stop_time_after_interruption, wire.avg_stop_time_after_interruption_ms, in_ms
    )
    sent = wire.response_time if wire.response_time is not UNSET else wire.response_time_seconds
    call.response_time = _seconds(sent, wire.response_time_ms, in_ms and _is_served_snapshot(wire))


def _sends_milliseconds(wire: CallWire) -> bool:
    """Whether latencies without a unit in their name are milliseconds: the served dialect."""
    return wire.avg_agent_latency_ms is not UNSET or _is_served_snapshot(wire)


def _is_served_snapshot(wire: CallWire) -> bool:
    """Whether this is a snapshot row of a served run-test list; the documents give it ``created_at``."""
    marked = wire.snapshot_timestamp is not UNSET or wire.original_call_execution_id is not UNSET
    return bool(wire.is_snapshot) and marked and wire.created_at is None


def _seconds(value: Any, milliseconds: Any, in_ms: bool) -> float | None:
    if value is UNSET:
        value, in_ms = milliseconds, True
    if value is UNSET or value is None:
        return None
    return value / 1000 if in_ms else value  # type: ignore[no-any-return]  # checked by the wire struct
