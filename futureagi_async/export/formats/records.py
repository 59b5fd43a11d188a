"""Records as bytes: their fields, turns and evaluations, read without making objects."""

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
    """Records in the order in which they are written, not decoded yet."""

    raws: Sequence[bytes]
    """Their JSON: UTF-8, decoded once before, and on one line each."""
    sources: Sequence[CallSource | None]
    """Where each was read."""
    restore: Callable[[int], CallExecution]
    """Decodes one of them, by its place here."""
    has_detail: Set[int] = frozenset()
    """Those whose transcript is from their detail: where it is empty, nothing was said."""

    def calls(self) -> list[CallExecution]:
        """Decode all of them."""
        return list(map(self.restore, range(len(self.raws))))


WireEvals: TypeAlias = Mapping[str, EvalEntry]
"""Evaluations by id, as sent."""

NULL: Final = Raw(b"null")
"""What a key that was not sent counts as."""

_decode_turns = msgspec.json.Decoder(list[TurnWire] | None).decode
_decode_evals = msgspec.json.Decoder(dict[str, EvalEntry] | None).decode


def fields_of(call: CallExecution) -> Fields:
    """Cut a record into the values of its keys; raises `ValueError` for a call that was built by hand."""
    if not call.raw:
        raise ValueError(f"Call {call.id} was not read from the server: it has no record to export.")
    return decode_fields(call.raw)


def with_record(call: CallExecution) -> CallExecution:
    """Return a call that was built by hand, or read from a normalised line, as if a record had held it.

    The record has what is looked for in records: nested parts, ``extra``, and misfits. Plain fields stay
    those of the call, whose units no record need tell.
    """
    if call.raw:
        return call
    made = decode_call(msgspec.json.encode(_record_of(call)), "a call without a record")
    for name in PLAIN:
        setattr(made, name, getattr(call, name))
    made.scenario, made.scenario_id, made.source = call.scenario, call.scenario_id, call.source
    if "transcript" not in call.misfits:
        made.transcript = call.transcript  # whatever the source withholds
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
    # the plain names are there lest another spelling of one, which is extra, be taken for it
    return {**dict.fromkeys(PLAIN), **call.extra, **parts, **whole, "id": call.id}


def _sent_evaluation(output: EvalOutput, place: str, misfits: Mapping[str, object]) -> dict[str, object]:
    sent = attrs.asdict(output, filter=lambda field, _: field.name not in ("id", "pending"))
    if output.pending:
        del sent["value"]  # for its lack says so
    return {name: misfits.get(f"{place}.{name}", value) for name, value in sent.items()}


def misfits_of(call: CallExecution) -> Misfits:
    """Return what was sent for plain fields that can't hold it; nested parts are looked into elsewhere."""
    return decode_call_leniently(call.raw)[1] if call.misfits else {}


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


def lacks_transcript(call: CallExecution) -> bool:
    """Whether the list withholds the call's transcript, so that its detail must be asked for it."""
    try:
        return call.transcript is None
    except DecodingError:
        return False  # it is there, in a shape that is not documented


def wire_turns(call: CallExecution, fields: Fields, misfits: Misfits) -> Sequence[TurnWire] | None:
    """Return the turns as sent, where ``call.transcript`` has some; else ``()`` or ``None`` as it does.

    What does not fit is added to ``misfits``: a value of a turn, or a whole transcript of no known shape.
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
    """Return ``call.transcript`` at a fraction of its cost; what does not fit is added to ``misfits``."""
    wires = wire_turns(call, fields, misfits)
    if not wires:
        return None if wires is None else ()
    key = transcript_key(fields)
    return structure_turns(Fragment(fields[key], "", "$", key=key, value=wires))


def wire_evals(call: CallExecution, fields: Fields, misfits: Misfits) -> WireEvals:
    """Return the evaluations as sent, empty for null.

    What does not fit is added to ``misfits``: a value of one, or the whole where it has no known shape.
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
    """Decode evaluations, empty for null; raises one of `JSON_ERRORS`."""
    return _decode_evals(sent) or {}


def evaluations_of(call: CallExecution, fields: Fields, misfits: Misfits) -> Mapping[str, EvalOutput]:
    """Return ``call.eval_outputs``, empty for ``None``, at a fraction of its cost.

    What does not fit is added to ``misfits``.
    """
    return structure_evals(Fragment(call.raw, "", "$", value=wire_evals(call, fields, misfits)))


def refuses(call: CallExecution, part: str) -> bool:
    """Whether the model can make nothing of a nested part."""
    try:
        getattr(call, part)
    except DecodingError:
        return True
    return False


def extra_of(fields: Fields, removed_keys: Set[str] = frozenset()) -> bytes:
    """Return ``call.extra`` as JSON, every value as it was sent, in the order of their keys."""
    return _extra_writer(tuple(fields), frozenset(removed_keys))(fields)


def extra_names(keys: Iterable[str]) -> list[str]:
    """Return the keys that are extra in a record with these keys, on which alone it depends."""
    return sorted(decode_call(msgspec.json.encode(dict.fromkeys(keys) | {"id": ""}), "").extra)


def join_objects(columns: Mapping[str, Iterable[Raw]]) -> Iterator[bytes]:
    """Return JSON objects with these keys, of values by the column; at least one.

    Joining pieces takes half the time of filling a template.
    """
    pieces = chain.from_iterable(zip(map(repeat, _keys(columns)), columns.values(), strict=True))
    return map(b"".join, zip(*pieces, repeat(b"}"), strict=False))


def _keys(names: Iterable[str]) -> list[bytes]:
    """Return what stands before each value of an object."""
    return [(b"," if place else b"{") + msgspec.json.encode(name) + b":" for place, name in enumerate(names)]


_KEY_SETS = 256  # remembered; a list has one or two


@lru_cache(maxsize=_KEY_SETS)
def _extra_writer(keys: tuple[str, ...], removed_keys: frozenset[str]) -> Callable[[Fields], bytes]:
    """Return what writes the extra of records with these keys."""
    names = [name for name in extra_names(keys) if name not in removed_keys]
    if not names:
        return lambda _fields: b"{}"
    keys_there = _keys(names)
    return lambda fields: b"".join(
        [*chain.from_iterable(zip(keys_there, map(fields.__getitem__, names), strict=True)), b"}"]
    )
