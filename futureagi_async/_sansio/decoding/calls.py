"""One call's bytes -> `CallExecution`: scalars at once, nested parts when they are read."""

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET

from futureagi_async._sansio.decoding.copying import make_copy
from futureagi_async._sansio.decoding.faults import JSON_FAULTS
from futureagi_async._sansio.decoding.nested import NestedReader
from futureagi_async._sansio.decoding.parts import Part, Siblings, Structure
from futureagi_async._sansio.decoding.wire import CallWire, ScenarioWire
from futureagi_async.models import CallExecution, Scenario
from futureagi_async.models.lazy import defer

CallHook: TypeAlias = Callable[[Part, Any], CallExecution]

_decode = msgspec.json.Decoder(CallWire).decode
_copy = make_copy()
_new = object.__new__
_NOTHING = (b"null", b"[]")


def make_call_hook(structure: Structure) -> CallHook:
    """Return the converter's hook for a call; ``structure`` is for its nested parts, later.

    It runs for every record of every page, and so spares what can be spared.
    """

    def structure_call(part: Part, _kind: Any) -> CallExecution:
        try:
            wire = _decode(part.raw)
        except JSON_FAULTS as error:
            raise part.fault(error) from None
        siblings = part.siblings or Siblings(part.endpoint, part.path)
        reader = siblings.reader
        if reader is None:
            reader = siblings.reader = NestedReader(structure, siblings)
        call = _new(CallExecution)
        _copy(call, wire)
        call.scenario = _scenario(wire)
        call.may_hold_provider_data = (
            wire.provider_call_data is not UNSET
            or wire.call_metadata is not UNSET
            or (wire.rerun_snapshots is not UNSET and bytes(wire.rerun_snapshots) not in _NOTHING)
        )
        call.source = siblings.source
        call.raw = part.raw
        if wire.is_snapshot or siblings.snapshots_of is not None:
            _complete_snapshot(call, wire, siblings.snapshots_of)
        defer(call, reader, part.index)
        return call

    return structure_call


def _scenario(wire: CallWire) -> Scenario | None:
    scenario = wire.scenario
    if scenario is UNSET:
        scenario = wire.scenario_name
    if isinstance(scenario, str):
        return Scenario(wire.scenario_id, scenario)
    if isinstance(scenario, ScenarioWire):
        return Scenario(scenario.id or wire.scenario_id, scenario.name)
    return None


def _complete_snapshot(call: CallExecution, wire: CallWire, taken_of: str | None) -> None:
    """Mark a snapshot; one of a served run-test list, which has no ``created_at``, sends milliseconds."""
    call.is_snapshot = True
    call.original_call_execution_id = wire.original_call_execution_id or taken_of
    marked = wire.snapshot_timestamp is not UNSET or wire.original_call_execution_id is not UNSET
    if not (wire.is_snapshot and marked and wire.created_at is None):
        return
    in_ms = ["response_time"]
    if wire.avg_agent_latency_ms is UNSET:  # else they were taken for milliseconds already
        in_ms += ["avg_agent_latency", "avg_stop_time_after_interruption"]
    for name in in_ms:
        sent = getattr(wire, name)
        if sent is not UNSET and sent is not None:
            setattr(call, name, sent / 1000)
