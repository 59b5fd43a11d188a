"""Arrow types, and arrays of transcripts, evaluations and source columns."""

from array import array as numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Raw

from futureagi_async._sansio.decoding.wire import EvalWire, TurnWire, from_ms, is_pending, is_skipped
from futureagi_async.export.formats.records import WireEvals
from futureagi_async.export.formats.schema import EVALUATIONS, SOURCE, TURN, Kind, SourceRow

Arrow: TypeAlias = Any
"""pyarrow, or a value of it: pyarrow has no type annotations."""

_NULL_BYTES = len(b"null")


def array(pa: Arrow, values: Iterable[Any], kind: Kind) -> Arrow:
    """Return an array of plain values."""
    return pa.array(values, arrow_type(pa, kind))


def json_array(pa: Arrow, texts: Iterable[bytes | None]) -> Arrow:
    """Return a text array of JSON. It is valid UTF-8, because the decoder has checked the record."""
    return pa.array(texts, pa.binary()).view(pa.string())


def sent_array(pa: Arrow, values: Sequence[Raw]) -> Arrow:
    """Return a text array of JSON as it was sent, with nulls."""
    if _NULL_BYTES not in map(len, values):
        return joined_array(pa, values)
    return json_array(pa, [None if sent == b"null" else sent for sent in map(bytes, values)])


def joined_array(pa: Arrow, texts: Sequence[bytes | Raw]) -> Arrow:
    """Return a text array without nulls. Its bytes are copied only once."""
    ends = numbers("i", accumulate(map(len, texts), initial=0))
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts)))


def arrow_type(pa: Arrow, kind: Kind) -> Arrow:
    """Return the type of a column."""
    match kind:
        case "number":
            return pa.float64()
        case "time":
            return pa.timestamp("us", tz="UTC")
        case "flag":
            return pa.bool_()
        case "whole":
            return pa.int32()
        case "turns":
            return pa.list_(pa.struct([(name, arrow_type(pa, of)) for name, of in TURN.items()]))
        case "text" | "json":
            return pa.string()


def arrow_schema(pa: Arrow, columns: Mapping[str, Kind]) -> Arrow:
    """Return the schema of a table."""
    return pa.schema([(name, arrow_type(pa, kind)) for name, kind in columns.items()])


def is_double(value: Any) -> bool:
    """Whether a double holds a number or ``None`` exactly. Decimal numbers were read as doubles."""
    try:
        return not isinstance(value, int) or float(value) == value
    except OverflowError:
        return False


Wires: TypeAlias = Sequence[TurnWire] | None
"""The turns of a transcript as sent; ``None`` if it is not included or is a misfit."""

ToDouble: TypeAlias = Callable[[float], float]


def transcript_column(
    pa: Arrow, transcripts: Sequence[Wires], list_type: Arrow, to_double: ToDouble | None = None
) -> Arrow:
    """Return the column of transcripts.

    Arrow converts whole numbers to doubles only up to 2^53. ``to_double`` converts larger ones.
    """
    turns = _turn_columns(pa, list(chain.from_iterable(filter(None, transcripts))), to_double)
    offsets = pa.array([0, *accumulate(len(wires or ()) for wires in transcripts)], pa.int32())
    withheld = pa.array([wires is None for wires in transcripts], pa.bool_())
    values = pa.StructArray.from_arrays(turns, fields=list(list_type.value_type))
    return pa.ListArray.from_arrays(offsets, values, type=list_type, mask=withheld)


def times_of(wires: Sequence[TurnWire]) -> list[float | None]:
    """Return the start and end times of turns in seconds."""
    return [*_starts(wires), *_ends(wires)]


def _turn_columns(pa: Arrow, wires: Sequence[TurnWire], to_double: ToDouble | None) -> list[Arrow]:
    """Return the columns `TURN`, by the same rules as ``structure_turns`` of the decoder."""
    roles = [wire.role if wire.role is not UNSET else wire.speaker_role or None for wire in wires]
    said = [wire.content if wire.messages is UNSET else "\n".join(wire.messages) for wire in wires]
    texts = [text if type(text) is str else None if text is UNSET else "" for text in said]
    starts, ends = _starts(wires), _ends(wires)
    if to_double is not None:
        starts, ends = (
            [time if time is None else to_double(time) for time in each] for each in (starts, ends)
        )
    columns: Sequence[Sequence[Any]] = (roles, texts, starts, ends)
    return [array(pa, values, kind) for values, kind in zip(columns, TURN.values(), strict=True)]


def _starts(wires: Sequence[TurnWire]) -> list[float | None]:
    return [
        wire.start_time_seconds if wire.start_time_seconds is not UNSET else from_ms(wire.start_time_ms)
        for wire in wires
    ]


def _ends(wires: Sequence[TurnWire]) -> list[float | None]:
    """Return the end times of turns; 0 ms means unknown."""
    return [
        wire.end_time_seconds if wire.end_time_seconds is not UNSET else from_ms(wire.end_time_ms or None)
        for wire in wires
    ]


_encode_lines = msgspec.json.Encoder().encode_lines


def evaluations_batch(
    pa: Arrow, calls: Arrow, evaluations: Sequence[WireEvals], schema: Arrow
) -> tuple[Arrow, list[int]]:
    """Return a record batch, and for each of its rows the row of ``calls`` that it belongs to."""
    rows = [row for row, found in enumerate(evaluations) for _ in found]
    wires = [
        entry if type(entry) is EvalWire else EvalWire(value=entry)  # legacy evaluations are bare values
        for found in evaluations
        for entry in found.values()
    ]
    values, columns = _plain_columns(wires)
    columns["evaluation_id"] = list(chain.from_iterable(evaluations))
    arrays = {name: array(pa, column, EVALUATIONS[name]) for name, column in columns.items()}
    arrays["value"] = joined_array(pa, _encode_lines(values).split(b"\n")[:-1])
    places = pa.array(rows, pa.int32())
    arrays["call_id"] = calls.column("id").take(places)
    arrays |= {name: calls.column(name).take(places) for name in SOURCE if name in schema.names}
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema), rows


def _plain_columns(wires: Sequence[EvalWire]) -> tuple[list[Any], dict[str, list[Any]]]:
    """Return the values and the plain columns, by the same rules as ``structure_evals`` of the decoder."""
    sent = [wire.output if wire.value is UNSET else wire.value for wire in wires]
    types = [wire.output_type if wire.type is UNSET else wire.type for wire in wires]
    statuses = [wire.status for wire in wires]
    values = [None if value is UNSET else value for value in sent]
    return values, {
        "name": [wire.name for wire in wires],
        "type": [None if kind is UNSET else kind for kind in types],
        "value_number": [value if type(value) is float else _number(value) for value in values],
        "value_text": [value if type(value) is str else None for value in values],
        "reason": [wire.reason for wire in wires],
        "status": statuses,
        "error": [None if wire.error is UNSET else bool(wire.error) for wire in wires],
        "error_text": [wire.error or None if type(wire.error) is str else None for wire in wires],
        "skipped": [is_skipped(wire.skipped, wire.status) for wire in wires],
        "pending": list(map(is_pending, sent, statuses)),
    }


def _number(value: Any) -> float | None:
    """Return a whole number, if a double holds it exactly."""
    return float(value) if type(value) is int and is_double(value) else None


def source_arrays(pa: Arrow, rows: Sequence[SourceRow]) -> dict[str, Arrow]:
    """Return the columns `SOURCE`."""
    if rows.count(rows[0]) == len(rows):
        return {
            name: pa.repeat(pa.scalar(value, arrow_type(pa, kind)), len(rows))
            for value, (name, kind) in zip(rows[0], SOURCE.items(), strict=True)
        }
    columns = zip(*rows, strict=True)
    return {
        name: array(pa, values, kind) for values, (name, kind) in zip(columns, SOURCE.items(), strict=True)
    }
