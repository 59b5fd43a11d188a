"""One record's bytes -> `CallExecution`."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, Fragment, ListContext, Structure
from futureagi_async._sansio.decoding.nested import NestedReader
from futureagi_async._sansio.decoding.wire import (
    ALIASES,
    ELSEWHERE,
    MILLISECONDS_BESIDE_MS,
    SECONDS,
    TIMES,
    CallWire,
    ScenarioWire,
)
from futureagi_async.models import CallExecution, Scenario

Copy: TypeAlias = Callable[[CallExecution, CallWire], None]


def make_copy() -> Copy:
    """Return ``copy(call, wire)``."""
    tables = ALIASES | TIMES | SECONDS
    chosen = {key for keys in tables.values() for key in keys} | ELSEWHERE
    lines = ["def copy(call, wire):", "    call.is_snapshot = False"]
    lines += [f"    call.{name} = wire.{name}" for name in CallWire.__struct_fields__ if name not in chosen]
    for name, keys in tables.items():
        lines += [*_choose(name, keys), f"    call.{name} = value"]
    names: dict[str, Any] = {"UNSET": UNSET, "UTC": UTC}
    exec("\n".join(lines), names)  # noqa: S102 - made of the names above alone
    made: Copy = names["copy"]
    return made


def _choose(name: str, keys: Sequence[str]) -> Iterator[str]:
    """Yield the lines that find a field's value: of the first key present, in the field's unit."""
    yield f"    value = wire.{keys[0]}"
    if name in MILLISECONDS_BESIDE_MS:
        yield "    if value and wire.avg_agent_latency_ms is not UNSET: value /= 1000"
    for key in keys[1:]:
        yield "    if value is UNSET:"
        yield f"        value = wire.{key}"
        if key.endswith("_ms"):
            yield "        if value: value /= 1000"
    yield "    if value is UNSET: value = None"
    if name in TIMES:
        yield "    elif value is not None and value.tzinfo is None: value = value.replace(tzinfo=UTC)"


CallHook: TypeAlias = Callable[[Fragment, Any], CallExecution]

_decode = msgspec.json.Decoder(CallWire).decode
_copy = make_copy()
_new = object.__new__
_NOTHING = (b"null", b"[]")


def make_call_hook(structure: Structure) -> CallHook:
    """Return the converter's hook for a call; ``structure`` is for its nested parts, later.

    It runs for every record of every page, and so spares what can be spared.
    """

    def structure_call(fragment: Fragment, _kind: Any) -> CallExecution:
        try:
            wire = _decode(fragment.raw)
        except JSON_ERRORS as error:
            raise fragment.error(error) from None
        list_context = fragment.list_context or ListContext(fragment.endpoint, fragment.path)
        reader = list_context.reader
        if reader is None:
            reader = list_context.reader = NestedReader(structure, list_context)
        call = _new(CallExecution)
        _copy(call, wire)
        call.scenario = _scenario(wire)
        call.may_hold_provider_data = (
            wire.provider_call_data is not UNSET
            or wire.call_metadata is not UNSET
            or (wire.rerun_snapshots is not UNSET and bytes(wire.rerun_snapshots) not in _NOTHING)
        )
        call.source = list_context.source
        call.raw = fragment.raw
        if wire.is_snapshot or list_context.snapshots_of is not None:
            _complete_snapshot(call, wire, list_context.snapshots_of)
        call.field_reader, call.field_cache = reader, None
        call.row = fragment.index  # type: ignore[misc]  # a slot of LazyFields
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
