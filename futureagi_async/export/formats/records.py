"""Records as bytes: their fields, turns and evaluations, read without making objects."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Final, TypeAlias

import attrs
import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding import decode_call
from futureagi_async._sansio.decoding.fragments import Fragment
from futureagi_async._sansio.decoding.nested import structure_evals, structure_turns
from futureagi_async._sansio.decoding.wire import EvalEntry, TurnWire
from futureagi_async.errors import DecodingError
from futureagi_async.models import CallExecution, EvalOutput, TranscriptTurn
from futureagi_async.sources import CallSource


@attrs.define(frozen=True)
class Batch:
    """Records in the order in which they are written, not decoded yet."""

    raws: Sequence[bytes]
    """Their JSON: UTF-8, and decoded once before."""
    sources: Sequence[CallSource | None]
    """Where each was read."""
    restore: Callable[[int], CallExecution]
    """Decodes one of them, by its place here."""
    told: Set[int] = frozenset()
    """Those whose transcript a detail told: where it is empty, nothing was said."""

    def calls(self) -> list[CallExecution]:
        """Decode all of them."""
        return list(map(self.restore, range(len(self.raws))))


def withholds_transcript(call: CallExecution) -> bool:
    """Whether the list that a call is of leaves out its transcript."""
    try:
        return call.transcript is None
    except DecodingError:
        return False  # it is there, in a shape that is not documented


PROVIDER_KEYS = ("call_metadata", "provider_call_data")
"""Version rows pass on what the voice provider knows, which may include its customers' keys."""

_SNAPSHOTS = "rerun_snapshots"  # of test execution rows: each a record that holds provider data again
_CONCERNED = frozenset((*PROVIDER_KEYS, _SNAPSHOTS))
Fields: TypeAlias = dict[str, Raw]
"""A record's values by key, as sent."""
_FIELDS = msgspec.json.Decoder(Fields)  # no slower than looking for the keys' bytes


def without_provider_data(record: bytes) -> bytes:
    """Return the record without `PROVIDER_KEYS`, its other values byte for byte.

    A record that has none of them is returned as it is.
    """
    fields = _FIELDS.decode(record)
    if _CONCERNED.isdisjoint(fields):
        return record
    kept = {key: value for key, value in fields.items() if key not in PROVIDER_KEYS}
    if _SNAPSHOTS in kept:
        kept[_SNAPSHOTS] = _without_nested(kept[_SNAPSHOTS])
    unchanged = len(kept) == len(fields) and kept.get(_SNAPSHOTS) is fields.get(_SNAPSHOTS)
    return record if unchanged else msgspec.json.encode(kept)


def _without_nested(snapshots: Raw) -> Raw:
    """Return the list itself where nothing is left out, and null for what is no list of records."""
    try:
        before = [bytes(snapshot) for snapshot in msgspec.json.decode(snapshots, type=list[Raw] | None) or ()]
        after = [without_provider_data(snapshot) for snapshot in before]
    except msgspec.ValidationError:
        return Raw(b"null")
    return snapshots if after == before else Raw(b"[%b]" % b",".join(after))


def on_one_line_each(records: Iterable[bytes]) -> list[bytes]:
    """Return the records without newlines; looks itself, as it is called for every record of an export."""
    return [on_one_line(record) if b"\n" in record or b"\r" in record else record for record in records]


def on_one_line(record: bytes) -> bytes:
    """Return the record without newlines, which JSON allows between its tokens."""
    if b"\n" in record or b"\r" in record:
        return msgspec.json.format(record, indent=-1)
    return record


WireEvals: TypeAlias = Mapping[str, EvalEntry]
"""Evaluations by id, as sent."""

NULL: Final = Raw(b"null")
"""What a key that was not sent counts as."""

_TURNS = msgspec.json.Decoder(list[TurnWire] | None)
_EVALS = msgspec.json.Decoder(dict[str, EvalEntry] | None)
JSON_ERRORS: Final[tuple[type[Exception], ...]] = (msgspec.MsgspecError, ValueError, RecursionError)
"""All that the JSON decoder raises for any input whatever."""

_SHAPES = 256  # kinds of rows remembered; a list has one or two


def fields_of(call: CallExecution) -> Fields:
    """Cut a record into the values of its keys; raises `ValueError` for a call that was built by hand."""
    if not call.raw:
        raise ValueError(f"Call {call.id} was not read from the server: it has no record to export.")
    return _FIELDS.decode(call.raw)


def json_of(fields: Fields, name: str) -> bytes | None:
    """Return a value's JSON as sent; ``None`` where it is null or was not sent."""
    sent = bytes(fields.get(name, NULL))
    return None if sent == b"null" else sent


def scenario_of(call: CallExecution) -> tuple[str | None, str | None, bool]:
    """Return the scenario's name and id, and whether the record names two different ids."""
    if call.scenario is None:
        return None, call.scenario_id, False
    inner, outer = call.scenario.id, call.scenario_id
    return call.scenario.name, outer or inner, bool(inner and outer and inner != outer)


def transcript_key(keys: Container[str]) -> str:
    """Return the key that a record with these keys has its transcript under."""
    return "transcript" if "transcript" in keys else "transcripts"


def wire_turns(call: CallExecution, fields: Fields) -> Sequence[TurnWire] | None:
    """Return the turns as sent, where ``call.transcript`` has some; else ``()`` or ``None`` as it does.

    Raises `DecodingError` where ``call.transcript`` does.
    """
    try:
        wires = _TURNS.decode(bytes(fields.get(transcript_key(fields), NULL)))
    except JSON_ERRORS:
        wires = []
    if wires or wires is None:
        return wires
    return None if call.transcript is None else ()


def turns_of(call: CallExecution, fields: Fields) -> Sequence[TranscriptTurn] | None:
    """Return ``call.transcript`` at a fraction of its cost; raises `DecodingError` as it does."""
    wires = wire_turns(call, fields)
    if not wires:
        return None if wires is None else ()
    return structure_turns(Fragment(call.raw, "", "$", key=transcript_key(fields), value=wires))


def entries_of(call: CallExecution, fields: Fields) -> WireEvals:
    """Return the evaluations as sent, empty for null; raises `DecodingError` where the call does."""
    try:
        return decode_entries(fields.get("eval_outputs", NULL))
    except JSON_ERRORS:
        refused = call.eval_outputs  # raises, and says where
        raise AssertionError(f"What no decoder takes became {refused!r}.") from None


def decode_entries(sent: Raw) -> WireEvals:
    """Decode evaluations, empty for null; raises one of `JSON_ERRORS`."""
    return _EVALS.decode(sent) or {}


def evaluations_of(call: CallExecution, fields: Fields) -> Mapping[str, EvalOutput]:
    """Return ``call.eval_outputs``, empty for ``None``, at a fraction of its cost.

    Raises `DecodingError` as it does.
    """
    return structure_evals(Fragment(call.raw, "", "$", value=entries_of(call, fields)))


def extra_of(fields: Fields) -> bytes:
    """Return ``call.extra`` as JSON, every value as it was sent, in the order of their keys."""
    return _extra_writer(tuple(fields))(fields)


def extra_names(keys: Iterable[str]) -> list[str]:
    """Return the keys that are extra in a record with these keys, on which alone it depends."""
    return sorted(decode_call(msgspec.json.encode(dict.fromkeys(keys) | {"id": ""}), "").extra)


def extra_template(names: Iterable[str]) -> bytes:
    """Return the JSON of an object with these keys, with a place for each value."""
    pairs = [msgspec.json.encode(name).replace(b"%", b"%%") + b":%b" for name in names]
    return b"{%b}" % b",".join(pairs)


@lru_cache(maxsize=_SHAPES)
def _extra_writer(keys: tuple[str, ...]) -> Callable[[Fields], bytes]:
    """Return what writes the extra of records with these keys."""
    names = extra_names(keys)
    template = extra_template(names)
    if not names:
        return lambda _fields: template
    pick = itemgetter(*names)
    return lambda fields: template % pick(fields)


def in_utc(moment: datetime) -> datetime:
    """Return a time in UTC, or as it is where UTC has no such year."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return moment
