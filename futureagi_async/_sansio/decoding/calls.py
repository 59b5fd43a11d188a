"""One record's bytes -> `CallExecution`."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Raw

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, Fragment, HookOf, ListContext, at_place
from futureagi_async._sansio.decoding.misfits import as_aware, decode_call_leniently, values_of
from futureagi_async._sansio.decoding.nested import NestedReader
from futureagi_async._sansio.decoding.wire import (
    CALL_KEYS,
    ELSEWHERE,
    MILLISECONDS_BESIDE_MS,
    PARTS,
    SCALAR_KEYS,
    TIMES,
    RecordWire,
    ScenarioWire,
)
from futureagi_async.models import CallExecution, JsonValue, ReadOnlyDict, Scenario
from futureagi_async.models.call import PART_KEYS
from futureagi_async.models.values import EMPTY

CallHook: TypeAlias = Callable[[Fragment, Any], CallExecution]

_new = object.__new__
_NO_SNAPSHOTS = (UNSET, Raw(b"null"), Raw(b"[]"))


def make_call_hook(hook_of: HookOf) -> CallHook:
    """Return the converter's hook for a call; ``hook_of`` is for its nested parts, later.

    It runs for every record of every page, and so spares what can be spared.
    """
    decode, copy = msgspec.json.Decoder(RecordWire).decode, _make_copy()

    def structure_call(fragment: Fragment, _kind: Any) -> CallExecution:
        try:
            wire, misfits = fragment.value or decode(fragment.raw), EMPTY
            call = copy(_new(CallExecution), wire)
        except JSON_ERRORS as error:
            wire, misfits = _decode_by_value(fragment, error)
            call = copy(_new(CallExecution), wire)
        call.misfits = misfits
        list_context = fragment.list_context or ListContext(fragment.endpoint, fragment.path)
        reader = list_context.reader
        if reader is None:
            reader = list_context.reader = NestedReader(hook_of, list_context)
        call.scenario = _scenario(wire)
        call.may_hold_provider_data = (
            wire.provider_call_data is not UNSET
            or wire.call_metadata is not UNSET
            or wire.rerun_snapshots not in _NO_SNAPSHOTS
        )
        if not call.may_hold_provider_data:
            call._without_provider_data = fragment.raw  # noqa: SLF001 - one of its lazy fields
        call.source = list_context.source
        call.raw = fragment.raw
        if wire.is_snapshot or wire.is_snapshot is UNSET or list_context.snapshots_of is not None:
            _complete_snapshot(call, wire, list_context.snapshots_of)
        call.field_reader = reader
        call.row = fragment.index
        return call

    return structure_call


def _decode_by_value(fragment: Fragment, error: Exception) -> tuple[RecordWire, ReadOnlyDict[JsonValue]]:
    """Return a record that did not decode as a whole, without its misfits; else raise what is wrong."""
    if fragment.strict:
        raise fragment.error(error) from None
    try:
        wire, misfits = decode_call_leniently(fragment.raw)
    except JSON_ERRORS as worse:
        raise fragment.error(worse) from None
    return wire, values_of(misfits)


def _make_copy() -> Callable[[CallExecution, RecordWire], CallExecution]:
    """Return ``copy(call, wire)``, which returns the call.

    It leaves nested parts for later, but those that were not sent, and raises `msgspec.ValidationError` for
    times that UTC has no year for.
    """
    chosen = {key for keys in SCALAR_KEYS.values() for key in keys} | {*ELSEWHERE, *PART_KEYS}
    lines = ["def copy(call, wire):", "    call.is_snapshot = False"]
    lines += [f"    call.{name} = wire.{name}" for name in RecordWire.__struct_fields__ if name not in chosen]
    for name, keys in SCALAR_KEYS.items():
        lines += [*_choose(name, keys), f"    call.{name} = value"]
    lines += [f"    call.sent_{key} = wire.{key}" for key in PART_KEYS]
    for name in PARTS:
        # asked for later, each would take as long as twenty of these lines
        absent = " is ".join((*(f"wire.{key}" for key in CALL_KEYS.get(name, (name,))), "UNSET"))
        lines.append(f"    if {absent}: call.{name} = None")
    lines.append("    return call")
    names: dict[str, Any] = {"UNSET": UNSET, "UTC": UTC, "as_aware": _as_aware}
    exec("\n".join(lines), names)  # noqa: S102 - made of the names above alone
    made: Callable[[CallExecution, RecordWire], CallExecution] = names["copy"]
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
        yield "    elif value is not None and value.tzinfo is not UTC:"
        yield f"        value = as_aware(value, wire, {name!r})"


def _as_aware(moment: datetime, wire: RecordWire, name: str) -> datetime:
    try:
        return as_aware(moment)
    except msgspec.ValidationError as error:
        key = next(key for key in TIMES[name] if getattr(wire, key) is not UNSET)
        raise at_place(error, f".{key}") from None


def _scenario(wire: RecordWire) -> Scenario | None:
    scenario = wire.scenario
    if scenario is UNSET:
        scenario = wire.scenario_name
    if isinstance(scenario, str):
        return Scenario(wire.scenario_id, scenario)
    if isinstance(scenario, ScenarioWire):
        return Scenario(scenario.id or wire.scenario_id, scenario.name)
    return None


def _complete_snapshot(call: CallExecution, wire: RecordWire, taken_of: str | None) -> None:
    """Mark a snapshot; one of a served run-test list, which has no ``created_at``, sends milliseconds."""
    call.is_snapshot = None if wire.is_snapshot is UNSET else True
    call.original_call_execution_id = wire.original_call_execution_id or taken_of
    if not _is_marked(wire) or wire.created_at is not None:
        return
    in_ms = ["response_time"]
    if wire.avg_agent_latency_ms is UNSET:  # else they were taken for milliseconds already
        in_ms += ["avg_agent_latency", "avg_stop_time_after_interruption"]
    for name in in_ms:
        sent = getattr(wire, name)
        if sent is not UNSET and sent is not None:
            setattr(call, name, sent / 1000)


def _is_marked(wire: RecordWire) -> bool:
    """Whether the record says, in the way of a run test's list, what it was taken of, or when."""
    marks = (wire.snapshot_timestamp, wire.original_call_execution_id)
    if wire.is_snapshot is UNSET:
        return any(marks)  # of calls they are null
    return bool(wire.is_snapshot) and marks != (UNSET, UNSET)
