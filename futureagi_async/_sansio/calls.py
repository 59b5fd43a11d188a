"""One call's bytes -> `CallExecution`: scalars at once, nested parts when they are read."""

from typing import Any

import msgspec
from msgspec import UNSET, Raw

from futureagi_async._sansio import parts
from futureagi_async._sansio.copying import FIRST_OF, TIMES, make_copy
from futureagi_async._sansio.faults import JSON_FAULTS
from futureagi_async._sansio.parts import Evals, Part, Siblings, Structure, Turns
from futureagi_async._sansio.wire import CallWire, PartsWire, ScenarioWire
from futureagi_async.models import CallExecution, JsonValue, ReadOnlyDict, Scenario
from futureagi_async.models.lazy import defer, index_of, keep_parts, parts_of
from futureagi_async.sources import AgentVersionCalls, TestExecutionCalls

_CALL = msgspec.json.Decoder(CallWire)
_PARTS = msgspec.json.Decoder(PartsWire)

_ALIASES = {
    **FIRST_OF,
    **TIMES,
    "scenario": ("scenario", "scenario_name"),
    "response_time": ("response_time", "response_time_seconds", "response_time_ms"),
    "avg_agent_latency": ("avg_agent_latency", "avg_agent_latency_ms"),
    "avg_stop_time_after_interruption": (
        "avg_stop_time_after_interruption",
        "avg_stop_time_after_interruption_ms",
    ),
    "transcript": ("transcript", "transcripts"),
}
"""Fields that several keys can fill; the first one present does."""

_copy = make_copy()
_FIELDS = frozenset(CallWire.__struct_fields__) | frozenset(PartsWire.__struct_fields__)
_OTHER_NAMES = frozenset(key for keys in _ALIASES.values() for key in keys[1:])


def structure_call(structure: Structure, part: Part) -> CallExecution:
    """Structure a call from its record's bytes; ``structure`` is for its nested parts, later."""
    try:
        wire = _CALL.decode(part.raw)
    except JSON_FAULTS as error:
        raise part.fault(error) from None
    siblings = part.siblings or Siblings(part.endpoint, part.path)
    if siblings.reader is None:
        siblings.reader = _Reader(structure, siblings)
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
    call.avg_agent_latency = _seconds(wire.avg_agent_latency, wire.avg_agent_latency_ms, in_ms=in_ms)
    call.avg_stop_time_after_interruption = _seconds(
        wire.avg_stop_time_after_interruption, wire.avg_stop_time_after_interruption_ms, in_ms=in_ms
    )
    sent = wire.response_time if wire.response_time is not UNSET else wire.response_time_seconds
    call.response_time = _seconds(sent, wire.response_time_ms, in_ms=in_ms and _is_served_snapshot(wire))


def _sends_milliseconds(wire: CallWire) -> bool:
    """Whether latencies without a unit in their name are milliseconds: the served dialect."""
    return wire.avg_agent_latency_ms is not UNSET or _is_served_snapshot(wire)


def _is_served_snapshot(wire: CallWire) -> bool:
    """Whether this is a snapshot row of a served run-test list; the documents give it ``created_at``."""
    marked = wire.snapshot_timestamp is not UNSET or wire.original_call_execution_id is not UNSET
    return bool(wire.is_snapshot) and marked and wire.created_at is None


def _seconds(value: Any, milliseconds: Any, *, in_ms: bool) -> float | None:
    if value is UNSET:
        value, in_ms = milliseconds, True
    if value is UNSET or value is None:
        return None
    return value / 1000 if in_ms else value  # type: ignore[no-any-return]  # checked by the wire struct


class _Reader:
    """Reads the lazy fields of one list's records."""

    __slots__ = ("siblings", "structure")

    def __init__(self, structure: Structure, siblings: Siblings) -> None:
        self.structure = structure
        self.siblings = siblings

    def __call__(self, call: CallExecution, name: str) -> Any:
        if name == "extra":
            return self._extra(call)
        part = self._find(call, name)
        if part is None or part.raw == b"null":
            return None
        match name:
            case "transcript":
                return None if _withholds(call, part) else self.structure(part, Turns)
            case "eval_outputs":
                return self.structure(part, Evals)
            case "rerun_snapshots":
                return self._snapshots(call, part)
            case "scenario_columns" if part.raw.startswith(b"["):
                return parts.structure_array(part)
        return parts.structure_object(part)

    def _record(self, call: CallExecution) -> Part:
        return Part(call.raw, self.siblings.endpoint, self.siblings.path, self.siblings, index_of(call))

    def _find(self, call: CallExecution, name: str) -> Part | None:
        """Find a nested part's bytes; the record is searched once, at the first question."""
        record = self._record(call)
        if parts_of(call) is None:
            try:
                keep_parts(call, _PARTS.decode(call.raw))
            except JSON_FAULTS as error:
                raise record.fault(error) from None
        for key in _ALIASES.get(name, (name,)):
            raw = getattr(parts_of(call), key)
            if raw is not UNSET:
                return Part(bytes(raw), record.endpoint, f"{record.json_path}.{key}")
        return None

    def _snapshots(self, call: CallExecution, part: Part) -> tuple[CallExecution, ...]:
        siblings = Siblings(part.endpoint, part.json_path, call.source, snapshots_of=call.id)
        try:
            raws = msgspec.json.decode(part.raw, type=list[Raw])
        except JSON_FAULTS as error:
            raise part.fault(error) from None
        return tuple(
            self.structure(Part(bytes(raw), part.endpoint, part.json_path, siblings, index), CallExecution)
            for index, raw in enumerate(raws)
        )

    def _extra(self, call: CallExecution) -> ReadOnlyDict[JsonValue]:
        sent = parts.structure_object(self._record(call))
        used = {next((key for key in keys if key in sent), None) for keys in _ALIASES.values()}
        return ReadOnlyDict(
            {
                key: value
                for key, value in sent.items()
                if key not in _FIELDS or (key in _OTHER_NAMES and key not in used)
            }
        )


def _withholds(call: CallExecution, part: Part) -> bool:
    """Whether an empty transcript means "ask for the detail" rather than "nothing was said"."""
    if part.raw != b"[]":
        return False
    if isinstance(call.source, TestExecutionCalls):
        return b'"duration_seconds":' in call.raw  # the served dialect, which never sends one here
    return isinstance(call.source, AgentVersionCalls) and call.simulation_call_type == "text"
