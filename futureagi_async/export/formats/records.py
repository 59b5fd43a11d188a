"""Reads the fields, turns and evaluations of records from their bytes, without making objects."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from itertools import chain, repeat
from typing import Final, TypeAlias

import attrs
import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding import decode_call
from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, Fields, Fragment, decode_fields
from futureagi_async._sansio.decoding.misfits import (
    Misfits,
    decode_call_leniently,
    decode_evals_leniently,
    decode_turns_leniently,
    escaped,
    placed,
)
from futureagi_async._sansio.decoding.nested import structure_evals, structure_turns
from futureagi_async._sansio.decoding.wire import EvalEntry, TurnWire
from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.schema import PLAIN
from futureagi_async.models import CallExecution, EvalOutput, TranscriptTurn
from futureagi_async.sources import CallSource


@attrs.define(frozen=True)
class Batch:
    """Records in the order in which they are written, not decoded."""

    raws: Sequence[bytes]
    """The JSON of each record: valid UTF-8, on one line."""
    sources: Sequence[CallSource | None]
    """The source of each record."""
    restore: Callable[[int], CallExecution]
    """Decodes one record, by its place in the batch."""
    has_detail: Set[int] = frozenset()
    """The records whose transcript is from their detail. If it is empty, nothing was said."""

    def calls(self) -> list[CallExecution]:
        """Decode all records."""
        return list(map(self.restore, range(len(self.raws))))


WireEvals: TypeAlias = Mapping[str, EvalEntry]
"""Evaluations by id, as sent."""

NULL: Final = Raw(b"null")
"""The value of a key that was not sent."""

_decode_turns = msgspec.json.Decoder(list[TurnWire] | None).decode
_decode_evals = msgspec.json.Decoder(dict[str, EvalEntry] | None).decode


def fields_of(call: CallExecution) -> Fields:
    """Return the values of a record by key. Raises `ValueError` for a call that was built by hand."""
    if not call.raw:
        raise ValueError(f"Call {call.id} was not read from the server, so it has no record to export.")
    return decode_fields(call.raw)


def with_record(call: CallExecution) -> CallExecution:
    """Return a call that was built by hand or read from a normalised line, with a record.

    The record has nested parts, ``extra`` and misfits, because they are read from records. Plain fields are
    read from the call, so their units don't matter in the record.
    """
    if call.raw:
        return call
    made = decode_call(msgspec.json.encode(_record_of(call)), "a call without a record")
    for name in PLAIN:
        setattr(made, name, getattr(call, name))
    made.scenario, made.scenario_id, made.source = call.scenario, call.scenario_id, call.source
    if "transcript" not in call.misfits:
        made.transcript = call.transcript  # even if lists of the source do not include it
    return made


_FREE_PARTS: Final = ("eval_metrics", "scenario_columns", "recordings", "tool_outputs")


def _record_of(call: CallExecution) -> dict[str, object]:
    parts: dict[str, object] = {name: getattr(call, name) for name in _FREE_PARTS}
    parts["transcript"] = call.transcript and [
        {
            **turn.extra,
            "role": turn.role,
            "content": call.misfits.get(f"transcript[{place}].content", turn.content),
            "start_time_seconds": turn.start_seconds,
            "end_time_seconds": turn.end_seconds,
        }
        for place, turn in enumerate(call.transcript)
    ]
    parts["eval_outputs"] = call.eval_outputs and {
        key: _sent_evaluation(output, f"eval_outputs['{escaped(key)}']", call.misfits)
        for key, output in call.eval_outputs.items()
    }
    parts["scenario"] = call.scenario and attrs.asdict(call.scenario)
    parts["rerun_snapshots"] = call.rerun_snapshots and [each.to_dict() for each in call.rerun_snapshots]
    whole = {name: value for name, value in call.misfits.items() if name in CallExecution.__slots__}
    # the plain names are included, so that another spelling in extra is not taken for one of them
    return {**dict.fromkeys(PLAIN), **call.extra, **parts, **whole, "id": call.id}


def _sent_evaluation(output: EvalOutput, place: str, misfits: Mapping[str, object]) -> dict[str, object]:
    sent = attrs.asdict(output, filter=lambda field, _: field.name not in ("id", "pending"))
    if output.pending:
        del sent["value"]  # for its lack says so
    return {name: misfits.get(f"{place}.{name}", value) for name, value in sent.items()}


def misfits_of(call: CallExecution) -> Misfits:
    """Return the values as sent that plain fields can't hold. Nested parts are checked elsewhere."""
    return decode_call_leniently(call.raw)[1] if call.misfits else {}


def json_of(fields: Fields, name: str) -> bytes | None:
    """Return the JSON of a value as sent; ``None`` if it is null or was not sent."""
    sent = bytes(fields.get(name, NULL))
    return None if sent == b"null" else sent


def scenario_of(call: CallExecution) -> tuple[str | None, str | None, bool]:
    """Return the name and id of the scenario, and whether the record has two different ids."""
    if call.scenario is None:
        return None, call.scenario_id, False
    inner, outer = call.scenario.id, call.scenario_id
    return call.scenario.name, outer or inner, bool(inner and outer and inner != outer)


def transcript_key(keys: Container[str]) -> str:
    """Return the key of the transcript in a record with these keys."""
    return "transcript" if "transcript" in keys else "transcripts"


def lacks_transcript(call: CallExecution) -> bool:
    """Whether the list does not include the transcript, so that the detail must be read."""
    try:
        return call.transcript is None
    except DecodingError:
        return False  # it was sent, with an undocumented type


def wire_turns(call: CallExecution, fields: Fields, misfits: Misfits) -> Sequence[TurnWire] | None:
    """Return the turns as sent; ``()`` or ``None`` if ``call.transcript`` is that.

    Values of turns that do not fit are added to ``misfits``, and so is a whole transcript of another type.
    """
    sent = fields.get(transcript_key(fields), NULL)
    try:
        wires = _decode_turns(sent)
    except JSON_ERRORS:
        return _odd_turns(call, sent, misfits)
    if wires or wires is None:
        return wires
    return None if call.transcript is None else ()


def _odd_turns(call: CallExecution, sent: Raw, misfits: Misfits) -> Sequence[TurnWire] | None:
    if refuses(call, "transcript"):
        misfits["transcript"] = sent
        return None
    wires, found = decode_turns_leniently(sent)
    misfits |= placed("transcript", found)
    return wires


def turns_of(call: CallExecution, fields: Fields, misfits: Misfits) -> Sequence[TranscriptTurn] | None:
    """Return ``call.transcript`` in a fraction of the time. Adds values that do not fit to ``misfits``."""
    wires = wire_turns(call, fields, misfits)
    if not wires:
        return None if wires is None else ()
    key = transcript_key(fields)
    return structure_turns(Fragment(fields[key], "", "$", key=key, value=wires))


def wire_evals(call: CallExecution, fields: Fields, misfits: Misfits) -> WireEvals:
    """Return the evaluations as sent; empty for null.

    Values that do not fit are added to ``misfits``, and so are evaluations of another type as a whole.
    """
    sent = fields.get("eval_outputs", NULL)
    try:
        return decode_evals(sent)
    except JSON_ERRORS:
        pass
    if refuses(call, "eval_outputs"):
        misfits["eval_outputs"] = sent
        return {}
    entries, found = decode_evals_leniently(sent)
    misfits |= placed("eval_outputs", found)
    return entries


def decode_evals(sent: Raw) -> WireEvals:
    """Decode evaluations; empty for null. Raises one of `JSON_ERRORS`."""
    return _decode_evals(sent) or {}


def evaluations_of(call: CallExecution, fields: Fields, misfits: Misfits) -> Mapping[str, EvalOutput]:
    """Return ``call.eval_outputs`` in a fraction of the time; empty for ``None``.

    Values that do not fit are added to ``misfits``.
    """
    return structure_evals(Fragment(call.raw, "", "$", value=wire_evals(call, fields, misfits)))


def refuses(call: CallExecution, part: str) -> bool:
    """Whether the model can't decode a nested part."""
    try:
        getattr(call, part)
    except DecodingError:
        return True
    return False


def extra_of(fields: Fields, removed_keys: Set[str] = frozenset()) -> bytes:
    """Return ``call.extra`` as JSON, with each value as sent, sorted by key."""
    return _extra_writer(tuple(fields), frozenset(removed_keys))(fields)


def extra_names(keys: Iterable[str]) -> list[str]:
    """Return the keys that go to ``extra`` in a record with these keys."""
    return sorted(decode_call(msgspec.json.encode(dict.fromkeys(keys) | {"id": ""}), "").extra)


def join_objects(columns: Mapping[str, Iterable[Raw]]) -> Iterator[bytes]:
    """Return JSON objects with these keys (at least one), from values by column.

    Joining pieces takes half the time of filling a template.
    """
    pieces = chain.from_iterable(zip(map(repeat, _keys(columns)), columns.values(), strict=True))
    return map(b"".join, zip(*pieces, repeat(b"}"), strict=False))


def _keys(names: Iterable[str]) -> list[bytes]:
    """Return the text before each value of an object."""
    return [(b"," if place else b"{") + msgspec.json.encode(name) + b":" for place, name in enumerate(names)]


_KEY_SETS = 256  # cached; a list has one or two


@lru_cache(maxsize=_KEY_SETS)
def _extra_writer(keys: tuple[str, ...], removed_keys: frozenset[str]) -> Callable[[Fields], bytes]:
    """Return a function that writes ``extra`` for records with these keys."""
    names = [name for name in extra_names(keys) if name not in removed_keys]
    if not names:
        return lambda _fields: b"{}"
    keys_there = _keys(names)
    return lambda fields: b"".join(
        [*chain.from_iterable(zip(keys_there, map(fields.__getitem__, names), strict=True)), b"}"]
    )
