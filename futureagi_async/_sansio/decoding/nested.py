"""Nested parts of a record, decoded when they are first read."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Raw

from futureagi_async._sansio.decoding.fragments import (
    JSON_ERRORS,
    Fragment,
    ListContext,
    Structure,
    decode_fields,
    structure_object,
)
from futureagi_async._sansio.decoding.provider_data import PROVIDER_DATA, without_provider_data
from futureagi_async._sansio.decoding.wire import (
    ALIASES,
    SECONDS,
    TIMES,
    CallWire,
    ColumnWire,
    EvalWire,
    PartsWire,
    RawPartsWire,
    from_ms,
    is_pending,
    is_skipped,
    withholds,
)
from futureagi_async.models import CallExecution, Column, EvalOutput, JsonValue, ReadOnlyDict, TranscriptTurn

Turns: TypeAlias = tuple[TranscriptTurn, ...]
Evals: TypeAlias = dict[str, EvalOutput]
_DICTS = msgspec.json.Decoder(list[dict[str, object]])
_COLUMN = msgspec.json.Decoder(ColumnWire)
_COLUMN_KEYS = frozenset(ColumnWire.__struct_fields__)
_new = object.__new__


def structure_column(fragment: Fragment) -> Column:
    """Structure one entry of ``column_order``."""
    try:
        wire = _COLUMN.decode(fragment.raw)
    except JSON_ERRORS as error:
        raise fragment.error(error) from None
    known = {name: getattr(wire, name) for name in ColumnWire.__struct_fields__}
    if wire.eval_config is not None:
        known["eval_config"] = ReadOnlyDict(wire.eval_config)
    others = {name: value for name, value in structure_object(fragment).items() if name not in _COLUMN_KEYS}
    return Column(**known, extra=ReadOnlyDict(others))


def structure_turns(fragment: Fragment) -> Turns:
    """Structure a transcript in any of its three shapes.

    Turns are most of what a page holds: the loop calls nothing, and sets the lazy field's slots itself.
    """
    extras = _TurnExtras(fragment)
    turns: list[TranscriptTurn] = []
    for index, wire in enumerate(fragment.value):
        turn = _new(TranscriptTurn)
        role, messages, content = wire.role, wire.messages, wire.content
        turn.role = role if role is not UNSET else wire.speaker_role or None
        turn.content = (
            "\n".join(messages) if messages is not UNSET else content if type(content) is str else ""
        )
        start, end = wire.start_time_seconds, wire.end_time_seconds
        turn.start_seconds = start if start is not UNSET else from_ms(wire.start_time_ms)
        # 0 ms means that the end is unknown
        turn.end_seconds = end if end is not UNSET else from_ms(wire.end_time_ms or None)
        turn.field_reader = extras
        turn.row = index  # type: ignore[misc]  # a slot of LazyFields
        turns.append(turn)
    return tuple(turns)


class _TurnExtras:
    """Reads the other keys of a transcript's turns; looks for them at the first question."""

    __slots__ = ("_part", "_turns")

    def __init__(self, fragment: Fragment) -> None:
        self._part = fragment
        self._turns: list[dict[str, Any]] | None = None

    def __call__(self, turn: TranscriptTurn, _name: str) -> ReadOnlyDict[JsonValue]:
        if self._turns is None:
            self._turns = self._decode()
        sent = self._turns[turn.row]
        filled = {"role" if "role" in sent else "speaker_role", "messages"}
        if "messages" not in sent and not isinstance(sent.get("content"), list):
            filled.add("content")
        for end in ("start", "end"):
            filled.add(f"{end}_time_seconds" if f"{end}_time_seconds" in sent else f"{end}_time_ms")
        return ReadOnlyDict({key: value for key, value in sent.items() if key not in filled})

    def _decode(self) -> list[dict[str, Any]]:
        fragment = self._part
        try:
            return _DICTS.decode(decode_fields(fragment.raw)[fragment.key])
        except JSON_ERRORS as error:
            raise fragment.error(error) from None


def structure_evals(fragment: Fragment) -> Evals:
    """Structure ``eval_outputs`` in either shape, legacy bare values included."""
    return ReadOnlyDict({key: _eval(key, entry) for key, entry in fragment.value.items()})


def _eval(key: str, wire: Any) -> EvalOutput:
    if not isinstance(wire, EvalWire):
        return EvalOutput(key, value=wire)
    value: Any = wire.value if wire.value is not UNSET else wire.output
    kind = wire.type if wire.type is not UNSET else wire.output_type
    status = wire.status
    return EvalOutput(
        key,
        wire.name,
        None if value is UNSET else value,
        None if kind is UNSET else kind,
        wire.reason,
        status,
        wire.error or False,
        is_skipped(wire.skipped, status),
        is_pending(value, status),
    )


_ALIASES = {
    **ALIASES,
    **TIMES,
    **SECONDS,
    "scenario": ("scenario", "scenario_name"),
    "transcript": ("transcript", "transcripts"),
}
"""Fields that several keys can fill; the first one present does."""


_FIELDS = frozenset((*CallWire.__struct_fields__, *PartsWire.__struct_fields__)) - frozenset(PROVIDER_DATA)
_OTHER_NAMES = frozenset(key for keys in _ALIASES.values() for key in keys[1:])
_PARTS = msgspec.json.Decoder(PartsWire)
_RAW_PARTS = msgspec.json.Decoder(RawPartsWire)
_ONE_PART: Mapping[str, msgspec.json.Decoder[Any]] = {
    field.name: msgspec.json.Decoder(field.type) for field in msgspec.structs.fields(PartsWire)
}


class NestedReader:
    """Reads the lazy fields of one list's records."""

    __slots__ = ("_siblings", "_structure")

    def __init__(self, structure: Structure, list_context: ListContext) -> None:
        self._structure = structure
        self._siblings = list_context

    def __call__(self, call: CallExecution, name: str) -> Any:
        match name:
            case "extra":
                return self._extra(call)
            case "_without_provider_data":
                return without_provider_data(call.raw) if call.may_hold_provider_data else call.raw
        wire = call.field_cache or self._open(call)
        value = getattr(wire, name)
        if type(value) is dict and name != "eval_outputs":
            return ReadOnlyDict(value)
        return self._special(call, wire, name, value)

    def _special(self, call: CallExecution, wire: Any, name: str, value: Any) -> Any:
        """Return a fragment that is more than an object with free keys."""
        key = name
        if value is UNSET and name == "transcript":
            key, value = "transcripts", wire.transcripts
        if type(value) is Raw:
            value = self._decode_alone(call, key, value)
        if value is UNSET or value is None:
            return None
        match name:
            case "transcript":
                fragment = self._part(call, key, value)
                return None if _is_withheld(call, value) else self._structure(fragment, Turns)
            case "eval_outputs":
                return self._structure(self._part(call, key, value), Evals)
            case "rerun_snapshots":
                return self._snapshots(call, value) if value else ()
        return ReadOnlyDict(value) if isinstance(value, dict) else value

    def _part(self, call: CallExecution, key: str = "", value: Any = None) -> Fragment:
        list_context = self._siblings
        return Fragment(
            call.raw, list_context.endpoint, list_context.path, list_context, call.row, key, value
        )

    def _open(self, call: CallExecution) -> PartsWire | RawPartsWire:
        try:
            wire = _PARTS.decode(call.raw)
        except JSON_ERRORS:
            return self._open_singly(call)
        call.field_cache = wire
        return wire

    def _open_singly(self, call: CallExecution) -> RawPartsWire:
        try:
            wire = _RAW_PARTS.decode(call.raw)
        except JSON_ERRORS as error:
            raise self._part(call).error(error) from None
        call.field_cache = wire
        return wire

    def _decode_alone(self, call: CallExecution, key: str, raw: Raw) -> Any:
        try:
            return _ONE_PART[key].decode(raw)
        except JSON_ERRORS as error:
            raise self._part(call, key).error(error) from None

    def _snapshots(self, call: CallExecution, raws: list[Raw]) -> tuple[CallExecution, ...]:
        here = self._part(call, "rerun_snapshots")
        list_context = ListContext(here.endpoint, here.json_path, call.source, snapshots_of=call.id)
        return tuple(
            self._structure(
                Fragment(bytes(raw), here.endpoint, here.json_path, list_context, index), CallExecution
            )
            for index, raw in enumerate(raws)
        )

    def _extra(self, call: CallExecution) -> ReadOnlyDict[JsonValue]:
        sent = structure_object(self._part(call))
        used = {next((key for key in keys if key in sent), None) for keys in _ALIASES.values()}
        return ReadOnlyDict(
            {
                key: value
                for key, value in sent.items()
                if key not in _FIELDS or (key in _OTHER_NAMES and key not in used)
            }
        )


def _is_withheld(call: CallExecution, turns: list[Any]) -> bool:
    return not turns and withholds(call.source, call.raw, call.simulation_call_type)
