"""Rows that have the same keys: how they are decoded at once, and what fills each column.

The rows of a list have one set of keys, or one of a few. What fills a field, and what is extra, follows
from the keys alone. So it is settled once for each set, and a row is decoded in one pass into a struct made
for it, in which all that stays JSON stays bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import attrs
import msgspec
from msgspec import Raw, Struct

from futureagi_async._sansio.decoding.wire import CallWire, PartsWire
from futureagi_async.export.formats.details import FAULTS, Fields, extra_names, transcript_key
from futureagi_async.export.formats.fillers import Fillers, fillers_of, snapshot_fillers_of
from futureagi_async.export.formats.schema import JSON_PARTS

_FIELDS = msgspec.json.Decoder(Fields)
_TYPES: Final[Mapping[str, Any]] = {
    field.name: field.type for kind in (PartsWire, CallWire) for field in msgspec.structs.fields(kind)
}
_REMEMBERED = 16  # shapes: rows of more of them at a time would gain nothing by it
_NEW_AT_ONCE = 4  # shapes that are learnt from one batch: each takes a millisecond


class Shape:
    """A set of keys."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys
        """In the order of a row's values."""
        self.extra = extra_names(keys)
        self.transcript = transcript_key(keys)
        self.scenario = "scenario" if "scenario" in keys else "scenario_name"
        self._fillers = fillers_of(keys)
        self._snapshot_fillers = snapshot_fillers_of(keys)
        names = [f"value_{place}" for place in range(len(keys))]
        struct = _struct(keys, names, as_sent={*self.extra, *JSON_PARTS})
        self.decode: Callable[[bytes], Struct] = msgspec.json.Decoder(struct).decode
        """Decodes a row of just these keys, or raises one of `FAULTS`."""
        self.is_snapshot: Callable[[Struct], bool | None] = (
            attrgetter(names[keys.index("is_snapshot")]) if "is_snapshot" in keys else lambda _: False
        )

    def fillers(self, *, snapshots: bool) -> Fillers | None:
        """Return what fills columns; ``None`` where keys alone do not tell."""
        return self._snapshot_fillers if snapshots else self._fillers


@attrs.define
class Rows:
    """Rows of one shape; all of them snapshots, or none."""

    shape: Shape
    are_snapshots: bool
    structs: list[Struct] = attrs.field(factory=list)
    places: list[int] = attrs.field(factory=list)
    """Where they stand in their batch."""


def _decode_alike(shape: Shape, raws: Sequence[bytes]) -> Rows | None:
    """Return rows that all have one shape and are no snapshots, as most batches are; ``None`` for others."""
    try:
        structs = list(map(shape.decode, raws))
    except FAULTS:
        return None
    if any(map(shape.is_snapshot, structs)):
        return None
    return Rows(shape, are_snapshots=False, structs=structs, places=list(range(len(raws))))


class Shapes:
    """The shapes that the rows of a file have, learnt from the rows."""

    def __init__(self) -> None:
        self._known: dict[frozenset[str], Shape | None] = {}
        self._recent: list[Shape] = []
        """The two that rows had last, as lists with snapshots have two."""
        self._learnt = 0

    def sort(self, raws: Sequence[bytes]) -> tuple[list[Rows], list[int]]:
        """Decode a batch's rows, and return those of each shape, and the places of those that have none."""
        alike = _decode_alike(self._recent[0], raws) if self._recent else None
        if alike is not None:
            return [alike], []
        self._learnt = 0
        shaped: dict[tuple[Shape, bool], Rows] = {}
        others: list[int] = []
        for place, raw in enumerate(raws):
            found = self._read(raw)
            if found is None:
                others.append(place)
                continue
            shape, struct = found
            kind = shape, shape.is_snapshot(struct) or False
            rows = shaped.get(kind) or shaped.setdefault(kind, Rows(*kind))
            rows.structs.append(struct)
            rows.places.append(place)
        return list(shaped.values()), others

    def _read(self, raw: bytes) -> tuple[Shape, Struct] | None:
        for shape in self._recent:
            try:
                found = shape, shape.decode(raw)
            except FAULTS:
                continue  # a key more, or a key less; or a value of another type
            if shape is not self._recent[0]:
                self._recent.reverse()
            return found
        try:
            new = self._shape_of(tuple(_FIELDS.decode(raw)))
            if new is None or new in self._recent:
                return None
            found = new, new.decode(raw)
        except FAULTS:
            return None
        self._recent = [new, *self._recent[:1]]
        return found

    def _shape_of(self, keys: tuple[str, ...]) -> Shape | None:
        found = frozenset(keys)
        if found not in self._known and self._learnt < _NEW_AT_ONCE:
            self._learnt += 1
            if len(self._known) == _REMEMBERED:
                del self._known[next(iter(self._known))]  # the oldest
            self._known[found] = _make_shape(keys)
        return self._known.get(found)


def _make_shape(keys: tuple[str, ...]) -> Shape | None:
    try:
        return Shape(keys) if "id" in keys else None
    except ValueError:
        return None  # a key that no struct can have, such as one with a quote in it


def _struct(keys: Sequence[str], names: Sequence[str], as_sent: set[str]) -> type[Struct]:
    """Make a struct with these keys, which may be no identifiers, under other names."""
    types: list[Any] = [Raw if key in as_sent else _TYPES[key] for key in keys]
    return msgspec.defstruct(
        "Row",
        list(zip(names, types, strict=True)),
        rename=dict(zip(names, keys, strict=True)),
        forbid_unknown_fields=True,
        gc=False,
    )
