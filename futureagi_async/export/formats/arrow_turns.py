"""Transcripts -> one Arrow column, without an object for each turn."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any, TypeAlias

from msgspec import UNSET

from futureagi_async._sansio.decoding.wire import TurnWire
from futureagi_async.export.formats.arrow_types import Arrow, array
from futureagi_async.export.formats.schema import TURN

Wires: TypeAlias = Sequence[TurnWire] | None
"""A transcript's turns as sent; ``None`` where it is withheld or was put aside."""

ToDouble: TypeAlias = Callable[[float], float]


def transcript_column(
    pa: Arrow, transcripts: Sequence[Wires], list_type: Arrow, to_double: ToDouble | None = None
) -> Arrow:
    """Return the column of transcripts.

    Arrow makes doubles of whole numbers up to 2^53 only; beyond, ``to_double`` must.
    """
    turns = _turn_columns(pa, list(chain.from_iterable(filter(None, transcripts))), to_double)
    offsets = pa.array([0, *accumulate(len(wires or ()) for wires in transcripts)], pa.int32())
    withheld = pa.array([wires is None for wires in transcripts], pa.bool_())
    values = pa.StructArray.from_arrays(turns, fields=list(list_type.value_type))
    return pa.ListArray.from_arrays(offsets, values, type=list_type, mask=withheld)


def times_of(wires: Iterable[TurnWire]) -> Iterator[float | None]:
    """Yield the beginnings and ends of turns in seconds."""
    for wire in wires:
        yield _start(wire)
        yield _end(wire)


def _turn_columns(pa: Arrow, wires: Sequence[TurnWire], to_double: ToDouble | None) -> list[Arrow]:
    """Return the columns `TURN`, by the rules of the decoder's ``structure_turns``."""
    roles = [wire.role if wire.role is not UNSET else wire.speaker_role or None for wire in wires]
    said = [wire.content if wire.messages is UNSET else "\n".join(wire.messages) for wire in wires]
    texts = [text if type(text) is str else "" for text in said]
    starts: list[Any] = [wire.start_time_seconds for wire in wires]
    if UNSET in starts:
        starts = list(map(_start, wires))
    ends: list[Any] = [wire.end_time_seconds for wire in wires]
    if UNSET in ends:
        ends = list(map(_end, wires))
    if to_double is not None:
        starts, ends = (
            [time if time is None else to_double(time) for time in each] for each in (starts, ends)
        )
    columns = zip((roles, texts, starts, ends), TURN.values(), strict=True)
    return [array(pa, values, kind) for values, kind in columns]


def _start(wire: TurnWire) -> float | None:
    if wire.start_time_seconds is not UNSET:
        return wire.start_time_seconds
    return wire.start_time_ms / 1000 if isinstance(wire.start_time_ms, int | float) else None


def _end(wire: TurnWire) -> float | None:
    if wire.end_time_seconds is not UNSET:
        return wire.end_time_seconds
    return wire.end_time_ms / 1000 if isinstance(wire.end_time_ms, int | float) and wire.end_time_ms else None
