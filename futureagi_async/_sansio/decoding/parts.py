"""The nested parts of a record: transcript turns, evaluations, columns, free objects."""

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import msgspec
from msgspec import UNSET, Raw

from futureagi_async._sansio.decoding.faults import JSON_FAULTS, explain
from futureagi_async._sansio.decoding.wire import ColumnWire, EvalWire
from futureagi_async.errors import DecodingError
from futureagi_async.models import Column, EvalOutput, JsonValue, ReadOnlyDict, TranscriptTurn
from futureagi_async.models.lazy import FieldReader, index_of
from futureagi_async.sources import CallSource

Turns: TypeAlias = tuple[TranscriptTurn, ...]
Evals: TypeAlias = dict[str, EvalOutput]

_OBJECT = msgspec.json.Decoder(dict[str, object])
_new = object.__new__
_RAWS_BY_KEY = msgspec.json.Decoder(dict[str, Raw])
_DICTS = msgspec.json.Decoder(list[dict[str, object]])
_COLUMN = msgspec.json.Decoder(ColumnWire)
_COLUMN_KEYS = frozenset(ColumnWire.__struct_fields__)


@attrs.define
class Siblings:
    """What the records of one list have in common."""

    endpoint: str
    path: str
    source: CallSource | None = None
    snapshots_of: str | None = None
    """For rerun snapshots inside a call: that call's id."""
    reader: FieldReader | None = None
    """Reads the lazy fields of all of them."""


@attrs.define
class Part:
    """Some JSON of an answer, and where it stood: what the converter's hooks take."""

    raw: bytes
    endpoint: str
    path: str
    siblings: Siblings | None = None
    index: int = -1
    key: str = ""
    """For a nested part: its key in the record that ``raw`` is."""
    value: Any = None
    """For a nested part: what the JSON decoder made of it."""

    @property
    def json_path(self) -> str:
        """Where it stood, such as ``$.results[2].transcript``."""
        place = self.path if self.index < 0 else f"{self.path}[{self.index}]"
        return f"{place}.{self.key}" if self.key else place

    def fault(self, error: BaseException) -> DecodingError:
        """Say what is wrong with it."""
        return explain(error, self.raw, self.endpoint, self.json_path)


Structure: TypeAlias = Callable[[Part, Any], Any]
"""The converter's ``structure``."""


def id_of(raw: bytes) -> str | None:
    """Return a record's id where that much can be read."""
    try:
        found = _OBJECT.decode(raw).get("id")
    except JSON_FAULTS:
        return None
    return found if isinstance(found, str) else None


def check_text(part: Part) -> None:
    """Refuse a record that is not UTF-8: what is read of it later was only skimmed until then.

    Record by record, because a whole page as one str would take four bytes a character where one of
    them is an emoji, and as long as all the rest of the decoding.
    """
    if part.raw.isascii():
        return
    try:
        part.raw.decode()
    except UnicodeDecodeError as error:
        problem = f"The record is not UTF-8 (byte {error.start})"
        whole = part.json_path == "$"
        raise DecodingError.at(
            problem, endpoint=part.endpoint, json_path=part.json_path, retryable=whole
        ) from None


def structure_object(part: Part) -> ReadOnlyDict[Any]:
    """Structure a JSON object whose keys are free."""
    try:
        return ReadOnlyDict(_OBJECT.decode(part.raw))
    except JSON_FAULTS as error:
        raise part.fault(error) from None


def structure_column(part: Part) -> Column:
    """Structure one entry of ``column_order``."""
    try:
        wire = _COLUMN.decode(part.raw)
    except JSON_FAULTS as error:
        raise part.fault(error) from None
    known = {name: getattr(wire, name) for name in ColumnWire.__struct_fields__}
    if wire.eval_config is not None:
        known["eval_config"] = ReadOnlyDict(wire.eval_config)
    others = {name: value for name, value in structure_object(part).items() if name not in _COLUMN_KEYS}
    return Column(**known, extra=ReadOnlyDict(others))


def structure_turns(part: Part) -> Turns:
    """Structure a transcript in any of its three shapes.

    Turns are most of what a page holds: the loop calls nothing, and sets the lazy field's slots itself.
    """
    extras = _TurnExtras(part)
    turns: list[TranscriptTurn] = []
    for index, wire in enumerate(part.value):
        turn = _new(TranscriptTurn)
        role, messages, content = wire.role, wire.messages, wire.content
        turn.role = role if role is not UNSET else wire.speaker_role or None
        turn.content = (
            "\n".join(messages) if messages is not UNSET else content if type(content) is str else ""
        )
        start, end = wire.start_time_seconds, wire.end_time_seconds
        turn.start_seconds = start if start is not UNSET else _from_ms(wire.start_time_ms)
        # 0 ms means that the end is unknown
        turn.end_seconds = end if end is not UNSET else _from_ms(wire.end_time_ms or None)
        turn._read_field = extras  # noqa: SLF001
        turn._index = index  # type: ignore[misc]  # noqa: SLF001 - a slot of LazyFields
        turns.append(turn)
    return tuple(turns)


def _from_ms(milliseconds: Any) -> float | None:
    if milliseconds is UNSET or milliseconds is None:
        return None
    return milliseconds / 1000  # type: ignore[no-any-return]  # checked by the wire struct


class _TurnExtras:
    """Reads the other keys of a transcript's turns; looks for them at the first question."""

    __slots__ = ("_part", "_turns")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._turns: list[dict[str, Any]] | None = None

    def __call__(self, turn: TranscriptTurn, _name: str) -> ReadOnlyDict[JsonValue]:
        if self._turns is None:
            self._turns = self._decode()
        sent = self._turns[index_of(turn)]
        filled = {"role" if "role" in sent else "speaker_role", "messages"}
        if "messages" not in sent and not isinstance(sent.get("content"), list):
            filled.add("content")
        for end in ("start", "end"):
            filled.add(f"{end}_time_seconds" if f"{end}_time_seconds" in sent else f"{end}_time_ms")
        return ReadOnlyDict({key: value for key, value in sent.items() if key not in filled})

    def _decode(self) -> list[dict[str, Any]]:
        part = self._part
        try:
            return _DICTS.decode(_RAWS_BY_KEY.decode(part.raw)[part.key])
        except JSON_FAULTS as error:
            raise part.fault(error) from None


def structure_evals(part: Part) -> Evals:
    """Structure ``eval_outputs`` in either shape, legacy bare values included."""
    return ReadOnlyDict({key: _eval(key, entry) for key, entry in part.value.items()})


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
        bool(wire.skipped) or status == "skipped",
        value is UNSET and status in (None, "pending"),
    )
