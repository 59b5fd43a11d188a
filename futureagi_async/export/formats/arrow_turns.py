"""Transcripts -> one Arrow column, without an object for each turn."""

from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import Any, TypeAlias

from msgspec import UNSET, UnsetType

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


def times_of(wires: Sequence[TurnWire]) -> list[float | None]:
    """Return the beginnings and ends of turns in seconds."""
    return [*_starts(wires), *_ends(wires)]


def _turn_columns(pa: Arrow, wires: Sequence[TurnWire], to_double: ToDouble | None) -> list[Arrow]:
    """Return the columns `TURN`, by the rules of the decoder's ``structure_turns``."""
    roles = [wire.role if wire.role is not UNSET else wire.speaker_role or None for wire in wires]
    said = [wire.content if wire.messages is UNSET else "\n".join(wire.messages) for wire in wires]
    texts = [text if type(text) is str else "" for text in said]
    starts, ends = _starts(wires), _ends(wires)
    if to_double is not None:
        starts, ends = (
            [time if time is None else to_double(time) for time in each] for each in (starts, ends)
        )
    columns: Sequence[Sequence[Any]] = (roles, texts, starts, ends)
    return [array(pa, values, kind) for values, kind in zip(columns, TURN.values(), strict=True)]


def _starts(wires: Sequence[TurnWire]) -> list[float | None]:
    return [
        wire.start_time_seconds if wire.start_time_seconds is not UNSET else _from_ms(wire.start_time_ms)
        for wire in wires
    ]


def _ends(wires: Sequence[TurnWire]) -> list[float | None]:
    """Return when turns ended; 0 ms means that it is unknown."""
    return [
        wire.end_time_seconds if wire.end_time_seconds is not UNSET else _from_ms(wire.end_time_ms or None)
        for wire in wires
    ]


def _from_ms(milliseconds: float | UnsetType | None) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, int | float) else None
