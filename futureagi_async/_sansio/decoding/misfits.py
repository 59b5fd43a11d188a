"""Decodes objects that contain misfits: values of types that the documents do not allow.

An object that can't be decoded as a whole is decoded here, value by value. Misfits are kept as sent.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Generic, TypeAlias, TypeVar, get_args

import msgspec
from msgspec import NODEFAULT, UNSET, Raw, Struct, ValidationError

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, Fields, at_place, decode_fields
from futureagi_async._sansio.decoding.wire import (
    CALL_KEYS,
    EVAL_KEYS,
    TURN_KEYS,
    ColumnWire,
    EvalEntry,
    EvalWire,
    ListWire,
    RecordWire,
    ScenarioWire,
    TurnWire,
)
from futureagi_async.models import JsonValue, ReadOnlyDict

Misfits: TypeAlias = dict[str, Raw]
"""Sent values by the name of the field that can't hold them, or by path."""

S = TypeVar("S", bound=Struct)


def values_of(misfits: Misfits) -> ReadOnlyDict[JsonValue]:
    """Return misfits as Python values."""
    return ReadOnlyDict({name: value_of(sent) for name, sent in misfits.items()})


def value_of(sent: Raw) -> JsonValue:
    """Return a JSON value as a Python value, or as its JSON text if Python can't represent it (``1e999``)."""
    try:
        value: JsonValue = msgspec.json.decode(sent)
    except JSON_ERRORS:
        return bytes(sent).decode(errors="replace")
    return value


def placed(place: str, misfits: Misfits) -> Misfits:
    """Return misfits with paths relative to the container, where the object is at ``place``."""
    return {f"{place}{name}": sent for name, sent in misfits.items()}


class LenientDecoder(Generic[S]):
    """Decodes a JSON object into a struct, value by value."""

    def __init__(
        self,
        kind: type[S],
        *,
        keys: Mapping[str, Sequence[str]] | None = None,
        must_fit: Collection[str] = (),
        unset: Collection[str] = (),
        inner: "Mapping[str, LenientDecoder[Any]] | None" = None,
    ) -> None:
        """Say how values that do not fit are taken.

        Args:
            kind: The struct.
            keys: For fields that several keys can fill: which, the first one present does.
            must_fit: Keys of which nothing else than their type will do.
            unset: Keys of which a misfit is `UNSET`, as null says something.
            inner: For keys that hold an object: how that is decoded.

        """
        self._kind = kind
        self._fields = msgspec.structs.fields(kind)
        self._keys = keys or {}
        self._field_of = {key: name for name, several in self._keys.items() for key in several}
        self._must_fit = must_fit
        self._unset = unset
        self._inner = inner or {}

    def decode(self, sent: bytes | Raw) -> tuple[S, Misfits]:
        """Return the struct, and the misfits by field.

        Raises one of `JSON_ERRORS` if the value is not an object, or has no value for a required key.
        """
        fields = decode_fields(sent)
        values: dict[str, Any] = {}
        misfits: Misfits = {}
        for key in filter(self._decoders.__contains__, fields):
            try:
                values[key] = self._decoders[key](fields[key])
            except ValidationError as error:
                if key in self._must_fit:
                    raise at_place(error, f".{key}") from None
                values[key], found = self._without(key, fields[key])
                if key == self._first_key(key, fields):
                    misfits |= found
        for field in self._fields:
            if field.default is NODEFAULT and field.name not in values:
                raise ValidationError(f"Object missing required field `{field.name}`")
        return self._kind(**values), misfits

    @cached_property
    def _decoders(self) -> Mapping[str, Callable[[Raw], Any]]:
        """Decoders of single values. They are created on first use, to keep the import fast."""
        return {field.name: _decoder(field.type) for field in self._fields}

    def _without(self, key: str, sent: Raw) -> tuple[Any, Misfits]:
        """Return the replacement for a misfit, and the misfits inside it."""
        name = self._field_of.get(key, key)
        if key in self._inner:
            try:
                value, misfits = self._inner[key].decode(sent)
            except ValidationError:
                pass
            else:
                return value, placed(f"{name}.", misfits)
        return UNSET if key in self._unset else None, {name: sent}

    def _first_key(self, key: str, fields: Fields) -> str:
        """Return the key that fills the field of the given key."""
        return next(each for each in self._keys.get(self._field_of.get(key, key), (key,)) if each in fields)


def _decoder(kind: Any) -> Callable[[Raw], Any]:
    decode = msgspec.json.Decoder(kind).decode
    if datetime not in get_args(kind):
        return decode

    def decode_time(sent: Raw) -> datetime | None:
        moment: datetime | None = decode(sent)
        return None if moment is None else as_aware(moment)

    return decode_time


def as_aware(moment: datetime) -> datetime:
    """Return a time with a time zone; UTC if it has none.

    Raises `ValidationError` for a time outside of the years of UTC, which few programs could read.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValidationError("Expected a time in the years 1 to 9999 of UTC") from None
    return moment


decode_call_leniently = LenientDecoder(
    RecordWire,
    keys=CALL_KEYS,
    must_fit={"id"},
    unset={"is_snapshot", "created_at"},
    inner={"scenario": LenientDecoder(ScenarioWire)},
).decode
decode_column_leniently = LenientDecoder(ColumnWire, must_fit={"id"}).decode
decode_list_leniently = LenientDecoder(
    ListWire, must_fit={"count", "results", "next", "error_messages"}
).decode
_decode_turn = LenientDecoder(TurnWire, keys=TURN_KEYS, unset={"content", "messages"}).decode
_decode_eval = LenientDecoder(EvalWire, keys=EVAL_KEYS, unset={"error", "skipped"}).decode

_decode_items = msgspec.json.Decoder(list[Raw]).decode
_decode_entry = msgspec.json.Decoder(EvalEntry).decode


def decode_turns_leniently(sent: Raw) -> tuple[list[TurnWire], Misfits]:
    """Return the turns of a transcript, and their misfits: ``{"[0].content": ...}``.

    Raises one of `JSON_ERRORS` if it is not a list of objects.
    """
    turns: list[TurnWire] = []
    misfits: Misfits = {}
    for index, item in enumerate(_decode_items(sent)):
        try:
            turn, found = _decode_turn(item)
        except ValidationError as error:
            raise at_place(error, f"[{index}]") from None
        if "content" in found:
            turn.content = turn.messages = UNSET
        turns.append(turn)
        misfits |= placed(f"[{index}].", found)
    return turns, misfits


def decode_evals_leniently(sent: Raw) -> tuple[dict[str, EvalEntry], Misfits]:
    """Return evaluations by id, and their misfits: ``{"['...'].reason": ...}``.

    Raises one of `JSON_ERRORS` if it is not an object.
    """
    entries: dict[str, EvalEntry] = {}
    misfits: Misfits = {}
    for key, item in decode_fields(sent).items():
        entries[key], found = _decode_one_eval(item)
        misfits |= placed(f"['{escaped(key)}'].", found)
    return entries, misfits


def _decode_one_eval(sent: Raw) -> tuple[EvalEntry, Misfits]:
    try:
        return _decode_entry(sent), {}
    except ValidationError:
        pass
    try:
        return _decode_eval(sent)
    except ValidationError:
        return None, {"value": sent}  # a bare one that no number holds


def escaped(key: str) -> str:
    """Return a key for use between apostrophes in a path (RFC 9535)."""
    return key.replace("\\", "\\\\").replace("'", "\\'")
