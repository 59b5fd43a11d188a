"""Reads the lazy fields of a call: its nested parts, and the keys that filled no field.

The record is decoded once, at the first question, with all its parts. Only where that fails is each
part decoded by itself, so that a malformed one spoils no other and its error tells the path.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from futureagi_async._sansio.decoding import parts
from futureagi_async._sansio.decoding.copying import FIRST_OF, PROVIDER_DATA, SECONDS, TIMES
from futureagi_async._sansio.decoding.faults import JSON_FAULTS
from futureagi_async._sansio.decoding.parts import Evals, Part, Siblings, Structure, Turns
from futureagi_async._sansio.decoding.wire import CallWire, PartsWire, RawPartsWire
from futureagi_async._sansio.decoding.withholding import withholds
from futureagi_async.models import CallExecution, JsonValue, ReadOnlyDict
from futureagi_async.models.lazy import index_of, keep_parts, parts_of

_ALIASES = {
    **FIRST_OF,
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

    def __init__(self, structure: Structure, siblings: Siblings) -> None:
        self._structure = structure
        self._siblings = siblings

    def __call__(self, call: CallExecution, name: str) -> Any:
        if name == "extra":
            return self._extra(call)
        wire = parts_of(call) or self._open(call)
        value = getattr(wire, name)
        if type(value) is dict and name != "eval_outputs":
            return ReadOnlyDict(value)
        return self._special(call, wire, name, value)

    def _special(self, call: CallExecution, wire: Any, name: str, value: Any) -> Any:
        """Return a part that is more than an object with free keys."""
        key = name
        if value is UNSET and name == "transcript":
            key, value = "transcripts", wire.transcripts
        if type(value) is Raw:
            value = self._decode_alone(call, key, value)
        if value is UNSET or value is None:
            return None
        match name:
            case "transcript":
                part = self._part(call, key, value)
                return None if _is_withheld(call, value) else self._structure(part, Turns)
            case "eval_outputs":
                return self._structure(self._part(call, key, value), Evals)
            case "rerun_snapshots":
                return self._snapshots(call, value) if value else ()
        return ReadOnlyDict(value) if isinstance(value, dict) else value

    def _part(self, call: CallExecution, key: str = "", value: Any = None) -> Part:
        siblings = self._siblings
        return Part(call.raw, siblings.endpoint, siblings.path, siblings, index_of(call), key, value)

    def _open(self, call: CallExecution) -> PartsWire | RawPartsWire:
        try:
            wire = _PARTS.decode(call.raw)
        except JSON_FAULTS:
            return self._open_singly(call)
        keep_parts(call, wire)
        return wire

    def _open_singly(self, call: CallExecution) -> RawPartsWire:
        try:
            wire = _RAW_PARTS.decode(call.raw)
        except JSON_FAULTS as error:
            raise self._part(call).fault(error) from None
        keep_parts(call, wire)
        return wire

    def _decode_alone(self, call: CallExecution, key: str, raw: Raw) -> Any:
        try:
            return _ONE_PART[key].decode(raw)
        except JSON_FAULTS as error:
            raise self._part(call, key).fault(error) from None

    def _snapshots(self, call: CallExecution, raws: list[Raw]) -> tuple[CallExecution, ...]:
        here = self._part(call, "rerun_snapshots")
        siblings = Siblings(here.endpoint, here.json_path, call.source, snapshots_of=call.id)
        return tuple(
            self._structure(Part(bytes(raw), here.endpoint, here.json_path, siblings, index), CallExecution)
            for index, raw in enumerate(raws)
        )

    def _extra(self, call: CallExecution) -> ReadOnlyDict[JsonValue]:
        sent = parts.structure_object(self._part(call))
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
