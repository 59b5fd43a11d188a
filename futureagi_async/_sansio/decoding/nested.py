"""Nested parts of a record, each decoded when it is first read, and no other with it.

The pass that reads a record's scalars notes where each part lies in the record (`SentParts`), and that it is
JSON. When a part is read, `NestedReader` decodes it from there in one go into structs, which are copied into
slotted objects. What does not fit the structs is decoded once more, value by value (`misfits`), which also
gives errors their paths. Nothing decoded is kept but the part itself.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Raw

from futureagi_async._sansio.decoding.fragments import (
    JSON_ERRORS,
    Fields,
    Fragment,
    HookOf,
    ListContext,
    at_place,
    decode_fields,
    structure_object,
)
from futureagi_async._sansio.decoding.misfits import (
    Misfits,
    decode_column_leniently,
    decode_evals_leniently,
    decode_turns_leniently,
    placed,
    values_of,
)
from futureagi_async._sansio.decoding.provider_data import SNAPSHOT_LEVELS, without_provider_data
from futureagi_async._sansio.decoding.wire import (
    CALL_KEYS,
    ColumnWire,
    EvalWire,
    PartsWire,
    RecordWire,
    from_ms,
    is_pending,
    is_skipped,
    withholds,
)
from futureagi_async.errors import DecodingError
from futureagi_async.models import CallExecution, Column, EvalOutput, JsonValue, ReadOnlyDict, TranscriptTurn
from futureagi_async.models.call import PART_KEYS, PROVIDER_DATA, SentParts

Turns: TypeAlias = tuple[TranscriptTurn, ...]
Evals: TypeAlias = dict[str, EvalOutput]

_decode_column = msgspec.json.Decoder(ColumnWire).decode
_decode_objects = msgspec.json.Decoder(list[dict[str, object]]).decode
_decode_list_of_fields = msgspec.json.Decoder(list[Fields]).decode
_COLUMN_KEYS = frozenset(ColumnWire.__struct_fields__)
_REFUSALS: tuple[type[Exception], ...] = (DecodingError, *JSON_ERRORS)
_new = object.__new__


def structure_column(fragment: Fragment) -> Column:
    """Structure one entry of ``column_order``."""
    try:
        wire = _decode_column(fragment.raw)
    except JSON_ERRORS as error:
        raise fragment.error(error) from None
    return _column(wire, fragment)


def structure_column_leniently(fragment: Fragment) -> tuple[list[Column], Misfits]:
    """Structure one entry of ``column_order``, and return what did not fit; nothing fits without an id."""
    try:
        wire, misfits = decode_column_leniently(fragment.raw)
        return [_column(wire, fragment)], placed(".", misfits)
    except _REFUSALS:
        return [], {"": Raw(fragment.raw)}


def _column(wire: ColumnWire, fragment: Fragment) -> Column:
    known = {name: getattr(wire, name) for name in ColumnWire.__struct_fields__}
    if wire.eval_config is not None:
        known["eval_config"] = ReadOnlyDict(wire.eval_config)
    others = {name: value for name, value in structure_object(fragment).items() if name not in _COLUMN_KEYS}
    return Column(**known, extra=ReadOnlyDict(others))


def structure_turns(fragment: Fragment) -> Turns:
    """Structure a transcript in any of its three shapes.

    Turns are most of what a page holds: the loop calls next to nothing, and sets the lazy field's slots
    itself.
    """
    wires, fragment.value = fragment.value, None  # lest the extras keep them
    extras = _TurnExtras(fragment)
    turns: list[TranscriptTurn] = []
    for index, wire in enumerate(wires):
        turn = _new(TranscriptTurn)
        role, messages, content = wire.role, wire.messages, wire.content
        turn.role = role if role is not UNSET else wire.speaker_role or None
        if messages is not UNSET:
            turn.content = "\n".join(messages)
        elif type(content) is str:
            turn.content = content
        else:
            turn.content = None if content is UNSET else ""
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

    __slots__ = ("_are_decoded", "_fragment", "_turns")

    def __init__(self, fragment: Fragment) -> None:
        self._fragment = fragment
        self._turns: list[Any] = []

    def __call__(self, turn: TranscriptTurn, _name: str) -> ReadOnlyDict[JsonValue]:
        sent = (self._turns or self._decode())[turn.row]
        filled = {"role" if "role" in sent else "speaker_role", "messages"}
        if "messages" not in sent and not _holds_list(sent.get("content")):
            filled.add("content")
        for end in ("start", "end"):
            filled.add(f"{end}_time_seconds" if f"{end}_time_seconds" in sent else f"{end}_time_ms")
        extra = {key: value for key, value in sent.items() if key not in filled}
        if not self._are_decoded:
            extra = _decode_values(extra, self._fragment, f"[{turn.row}]")
        return ReadOnlyDict(extra)

    def _decode(self) -> list[Any]:
        """Decode all turns; no further than to their values where one of these is beyond Python's numbers."""
        try:
            self._turns, self._are_decoded = _decode_objects(self._fragment.raw), True
        except JSON_ERRORS:
            self._turns, self._are_decoded = _decode_list_of_fields(self._fragment.raw), False
        return self._turns


def _holds_list(content: object) -> bool:
    return bytes(content).startswith(b"[") if type(content) is Raw else isinstance(content, list)


def _decode_values(sent: Fields, fragment: Fragment, place: str = "") -> dict[str, JsonValue]:
    """Decode what stood at a place of a fragment, or raise `DecodingError` with the path to what can't be."""
    values: dict[str, JsonValue] = {}
    for key, value in sent.items():
        try:
            values[key] = msgspec.json.decode(value)
        except msgspec.ValidationError as error:
            raise fragment.error(at_place(error, f"{place}.{key}")) from None
        except JSON_ERRORS as error:
            raise fragment.error(error) from None
    return values


def structure_evals(fragment: Fragment) -> Evals:
    """Structure ``eval_outputs`` in either shape, legacy bare values included.

    It sets the slots itself, as `structure_turns` does: calling the class takes a third more.
    """
    outputs: Evals = {}
    value: Any
    for key, wire in fragment.value.items():
        if type(wire) is not EvalWire:
            outputs[key] = EvalOutput(key, value=wire)
            continue
        output = outputs[key] = _new(EvalOutput)
        output.id, output.name, output.reason = key, wire.name, wire.reason
        value, kind, status, error = wire.value, wire.type, wire.status, wire.error
        if value is UNSET:
            value = wire.output
        if value is UNSET:
            output.value, output.pending = None, is_pending(value, status)
        else:
            output.value, output.pending = value, False
        if kind is UNSET:
            kind = wire.output_type
        output.type = None if kind is UNSET else kind
        output.status = status
        output.error = None if error is UNSET else error or False
        output.skipped = is_skipped(wire.skipped, status)
    return ReadOnlyDict(outputs)


Part: TypeAlias = Callable[[Raw], Any]

_decode_part: Mapping[str, Part] = {
    field.name: msgspec.json.Decoder(field.type).decode for field in msgspec.structs.fields(PartsWire)
}
_decode_part_leniently: Mapping[str, Callable[[Raw], tuple[Any, Misfits]]] = {
    "transcript": decode_turns_leniently,
    "transcripts": decode_turns_leniently,
    "eval_outputs": decode_evals_leniently,
}
_SLOTS: Mapping[str, str] = dict(zip(PART_KEYS, SentParts.__slots__, strict=True))
_FIELDS = frozenset(RecordWire.__struct_fields__) - frozenset(PROVIDER_DATA)
_OTHER_NAMES = frozenset(key for keys in CALL_KEYS.values() for key in keys[1:])


class NestedReader:
    """Reads the lazy fields of one list's records."""

    __slots__ = ("_hook_of", "_list_context", "_structure_evals", "_structure_turns")

    def __init__(self, hook_of: HookOf, list_context: ListContext) -> None:
        self._hook_of = hook_of
        self._list_context = list_context
        # looked up once a list: once a part, that would be some hundredths of what structuring one takes
        self._structure_turns, self._structure_evals = hook_of(Turns), hook_of(Evals)

    def __call__(self, call: CallExecution, name: str) -> Any:
        if name not in _decode_part:
            return self._extra(call) if name == "extra" else self._without_provider_data(call)
        key, part = name, getattr(call, _SLOTS[name])
        if part is UNSET:
            key, part = "transcripts", getattr(call, _SLOTS["transcripts"])
        try:
            value = _decode_part[key](part)
        except JSON_ERRORS as error:
            value = self._decode_leniently(call, name, key, part, error)
        if value is None:
            return None
        match name:
            case "transcript":
                if not value and _is_withheld(call):
                    return None
                return self._structure_turns(self._fragment(call, key, part, value), Turns)
            case "eval_outputs":
                return self._structure_evals(self._fragment(call, key, part, value), Evals)
            case "rerun_snapshots":
                return self._snapshots(call, value) if value else ()
        return ReadOnlyDict(value) if type(value) is dict else value

    def _fragment(
        self, call: CallExecution, key: str = "", part: Raw | None = None, value: Any = None
    ) -> Fragment:
        """Return the record, or one of its parts."""
        context, raw = self._list_context, call.raw if part is None else part
        return Fragment(raw, context.endpoint, context.path, context, call.row, key, value)

    def _decode_leniently(self, call: CallExecution, name: str, key: str, part: Raw, wrong: Exception) -> Any:
        """Return a part that did not decode as a whole, without its misfits; else raise what is wrong."""
        if key not in _decode_part_leniently or self._list_context.strict:
            raise self._fragment(call, key).error(wrong) from None
        try:
            value, misfits = _decode_part_leniently[key](part)
        except JSON_ERRORS as worse:
            raise self._fragment(call, key).error(worse) from None
        _add_misfits(call, name, values_of(misfits))
        return value

    def _snapshots(self, call: CallExecution, sent: list[Raw]) -> tuple[CallExecution, ...]:
        here = self._fragment(call, "rerun_snapshots")
        levels = self._list_context.levels + 1
        if levels > SNAPSHOT_LEVELS:
            raise here.error(RecursionError())
        context = ListContext(
            here.endpoint,
            here.json_path,
            source=call.source,
            strict=self._list_context.strict,
            snapshots_of=call.id,
            levels=levels,
        )
        fragment = Fragment(b"", here.endpoint, here.json_path, context)
        structure = self._hook_of(CallExecution)
        snapshots: list[CallExecution] = []
        for fragment.index, record in enumerate(sent):
            fragment.raw = bytes(record)
            snapshots.append(structure(fragment, CallExecution))
        for index, snapshot in enumerate(snapshots):
            _add_misfits(call, f"rerun_snapshots[{index}].", snapshot.misfits)
        return tuple(snapshots)

    def _without_provider_data(self, call: CallExecution) -> bytes:
        try:
            return without_provider_data(call.raw)
        except JSON_ERRORS as error:
            raise self._fragment(call).error(error) from None

    def _extra(self, call: CallExecution) -> ReadOnlyDict[JsonValue]:
        try:
            sent = decode_fields(call.raw)
        except JSON_ERRORS as error:
            raise self._fragment(call).error(error) from None
        used = {next((key for key in keys if key in sent), None) for keys in CALL_KEYS.values()}
        extra = {
            key: value
            for key, value in sent.items()
            if key not in _FIELDS or (key in _OTHER_NAMES and key not in used)
        }
        return ReadOnlyDict(_decode_values(extra, self._fragment(call)))


def _is_withheld(call: CallExecution) -> bool:
    """Whether an empty transcript is one that the list withholds."""
    # where the kind of call is not known, its detail knows more
    call_type = "text" if "simulation_call_type" in call.misfits else call.simulation_call_type
    return withholds(call.source, call.raw, call_type)


def _add_misfits(call: CallExecution, place: str, misfits: Mapping[str, JsonValue]) -> None:
    if misfits:
        added = {f"{place}{name}": value for name, value in misfits.items()}
        call.misfits = ReadOnlyDict({**call.misfits, **added})
