"""Rows with the same keys, decoded into one struct type: the fast path to every table."""

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

import attrs
import msgspec
from msgspec import Raw, Struct
from msgspec.structs import astuple

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, decode_fields
from futureagi_async._sansio.decoding.wire import (
    MILLISECONDS_BESIDE_MS,
    SCALAR_KEYS,
    SECONDS,
    WITHHOLDING,
    PartsWire,
    RecordWire,
    ScenarioWire,
    TurnWire,
    withholds,
)
from futureagi_async.export.formats.projection import WHOLE, Projection
from futureagi_async.export.formats.records import (
    Batch,
    WireEvals,
    decode_evals,
    extra_names,
    join_objects,
    transcript_key,
)
from futureagi_async.export.formats.schema import JSON_PARTS, PLAIN


class ColumnBuilder(NamedTuple):
    """How a column is built from a key."""

    key: str
    in_ms: bool = False
    """Whether the value is sent in milliseconds, but the column has seconds."""
    zeros: bool = False
    """Whether zeros also become doubles; JSON shows the difference."""


ColumnBuilders: TypeAlias = Mapping[str, ColumnBuilder]
"""The builders by column. A column without a builder has no values."""


def builders_of(keys: Container[str], names: Iterable[str] = PLAIN) -> ColumnBuilders:
    """Return the builders for the columns `PLAIN` of a row. Each uses the first present key, in its unit."""
    builders: dict[str, ColumnBuilder] = {}
    for name in names:
        key = next((key for key in SCALAR_KEYS.get(name, (name,)) if key in keys), None)
        if key is not None:
            builders[name] = ColumnBuilder(key, in_ms=_is_in_ms(name, key, keys))
    return builders


def snapshot_builders_of(keys: Container[str], names: Collection[str] = PLAIN) -> ColumnBuilders | None:
    """Return the same for a snapshot; ``None`` if the keys do not show its kind.

    A snapshot in a served run-test list (it has no ``created_at``) sends milliseconds.
    """
    if "created_at" in keys:
        return None  # which may be null
    builders = dict(builders_of(keys, names))
    if "snapshot_timestamp" in keys or "original_call_execution_id" in keys:
        in_ms = [name for name in SECONDS if name in keys and name in names]
        builders |= {name: ColumnBuilder(name, in_ms=True, zeros=not builders[name].in_ms) for name in in_ms}
    return builders


def _is_in_ms(name: str, key: str, keys: Container[str]) -> bool:
    if name not in SECONDS:
        return False
    beside = name in MILLISECONDS_BESIDE_MS and "avg_agent_latency_ms" in keys
    return key.endswith("_ms") or (beside and key == name)


_TYPES: Final[Mapping[str, Any]] = {
    field.name: field.type for kind in (RecordWire, PartsWire) for field in msgspec.structs.fields(kind)
}
_REMEMBERED = 16  # schemas: with more schemas in one batch, the fast path is not faster
_NEW_AT_ONCE = 4  # schemas that are created from one batch: each takes a millisecond


class RowSchema:
    """The struct type for rows with the same keys. Values that no column needs are not decoded."""

    def __init__(
        self, keys: Sequence[str], projection: Projection = WHOLE, as_sent: Collection[str] = ()
    ) -> None:
        self.keys = keys
        """The keys, in the order of the values of a row."""
        self.projection = projection
        extra = extra_names(keys)
        self.extra = [name for name in extra if name not in projection.removed_keys]
        self.transcript = transcript_key(keys)
        self.scenario = "scenario" if "scenario" in keys else "scenario_name"
        plain = [name for name in PLAIN if name in projection.calls]
        self._builders = builders_of(keys, plain)
        self._snapshot_builders = snapshot_builders_of(keys, plain)
        names = [f"value_{place}" for place in range(len(keys))]
        slices = {*extra, *JSON_PARTS, *as_sent}
        if projection.left_out:
            slices |= set(keys) - self._needed(projection)
        struct = _struct(keys, names, slices)
        self.decode: Callable[[bytes], Struct] = msgspec.json.Decoder(struct).decode
        """Decodes a row with exactly these keys, or raises one of `JSON_ERRORS`."""
        self.is_snapshot: Callable[[Struct], bool | None] = (
            attrgetter(names[keys.index("is_snapshot")]) if "is_snapshot" in keys else lambda _: False
        )

    def _needed(self, projection: Projection) -> set[str]:
        """Return the keys whose values the columns need."""
        needed = {"id", "is_snapshot"}
        for builders in (self._builders, self._snapshot_builders or {}):
            needed |= {builder.key for builder in builders.values()}
        if "transcript" in projection.calls:
            needed |= {self.transcript, "simulation_call_type"}  # which shows whether the list includes it
        if not projection.calls.keys().isdisjoint(("scenario_name", "scenario_id")):
            needed |= {self.scenario, "scenario_id"}
        return needed

    def builders(self, *, snapshots: bool) -> ColumnBuilders | None:
        """Return the builders of the columns; ``None`` if the keys do not show the kind of row."""
        return self._snapshot_builders if snapshots else self._builders


@attrs.define
class Rows:
    """Rows of one schema. Either all are snapshots, or none."""

    schema: RowSchema
    are_snapshots: bool
    structs: list[Struct] = attrs.field(factory=list)
    places: list[int] = attrs.field(factory=list)
    """Their places in the batch."""


def _decode_alike(schema: RowSchema, raws: Sequence[bytes]) -> Rows | None:
    """Return the rows if all have one schema and none is a snapshot, which is usual; else ``None``."""
    try:
        structs = list(map(schema.decode, raws))
    except JSON_ERRORS:
        return None
    if any(map(schema.is_snapshot, structs)):
        return None
    return Rows(schema, are_snapshots=False, structs=structs, places=list(range(len(raws))))


class RowSchemas:
    """The schemas of the rows of a file, created from the rows. Values of ``as_sent`` are not decoded."""

    def __init__(self, projection: Projection = WHOLE, as_sent: Collection[str] = ()) -> None:
        self.projection = projection
        self._as_sent = as_sent
        self._known: dict[frozenset[str], RowSchema | None] = {}
        self._recent: list[RowSchema] = []
        """The last two schemas of rows, because lists with snapshots have two."""
        self._learnt = 0

    def sort(self, raws: Sequence[bytes]) -> tuple[list[Rows], list[int]]:
        """Decode the rows of a batch. Return the rows of each schema, and the places of rows without one."""
        alike = _decode_alike(self._recent[0], raws) if self._recent else None
        if alike is not None:
            return [alike], []
        self._learnt = 0
        sorted_rows: dict[tuple[RowSchema, bool], Rows] = {}
        others: list[int] = []
        for place, raw in enumerate(raws):
            found = self._read(raw)
            if found is None:
                others.append(place)
                continue
            schema, struct = found
            kind = schema, schema.is_snapshot(struct) or False
            rows = sorted_rows.get(kind) or sorted_rows.setdefault(kind, Rows(*kind))
            rows.structs.append(struct)
            rows.places.append(place)
        return list(sorted_rows.values()), others

    def _read(self, raw: bytes) -> tuple[RowSchema, Struct] | None:
        for schema in self._recent:
            try:
                found = schema, schema.decode(raw)
            except JSON_ERRORS:
                continue  # an additional or missing key, or a value of another type
            if schema is not self._recent[0]:
                self._recent.reverse()
            return found
        try:
            new = self._schema_of(tuple(decode_fields(raw)))
            if new is None or new in self._recent:
                return None
            found = new, new.decode(raw)
        except JSON_ERRORS:
            return None
        self._recent = [new, *self._recent[:1]]
        return found

    def _schema_of(self, keys: tuple[str, ...]) -> RowSchema | None:
        found = frozenset(keys)
        if found not in self._known and self._learnt < _NEW_AT_ONCE:
            self._learnt += 1
            if len(self._known) == _REMEMBERED:
                del self._known[next(iter(self._known))]  # the oldest
            self._known[found] = self._make_schema(keys)
        return self._known.get(found)

    def _make_schema(self, keys: tuple[str, ...]) -> RowSchema | None:
        try:
            return RowSchema(keys, self.projection, self._as_sent) if "id" in keys else None
        except ValueError:
            return None  # a key that a struct can't have, such as one with a quote


def _struct(keys: Sequence[str], names: Sequence[str], as_sent: set[str]) -> type[Struct]:
    """Return a struct with these keys, which need not be identifiers, under other names."""
    types: list[Any] = [Raw if key in as_sent else _TYPES[key] for key in keys]
    return msgspec.defstruct(
        "Row",
        list(zip(names, types, strict=True)),
        rename=dict(zip(names, keys, strict=True)),
        forbid_unknown_fields=True,
        gc=False,
    )


class SlowPathNeededError(Exception):
    """A row has a value that does not fit its column, or its keys do not show the unit of a value."""


class RowColumns:
    """The values of rows of one schema, by column. May raise `SlowPathNeededError`."""

    def __init__(self, rows: Rows, batch: Batch) -> None:
        self.schema = rows.schema
        self.places = rows.places
        self.are_snapshots = rows.are_snapshots
        self.sources = list(map(batch.sources.__getitem__, rows.places))
        self.nothing = (None,) * len(rows.places)
        columns = zip(*map(astuple, rows.structs), strict=True)
        self.sent: Mapping[str, Sequence[Any]] = dict(zip(rows.schema.keys, columns, strict=True))
        """The values by key."""
        self._batch = batch

    def evaluations(self) -> Sequence[WireEvals]:
        """Return the evaluations of each row."""
        if "eval_outputs" not in self.sent:
            return [{}] * len(self.nothing)
        try:
            return list(map(decode_evals, self.sent["eval_outputs"]))
        except JSON_ERRORS as error:
            raise SlowPathNeededError from error

    def plain(self) -> dict[str, Sequence[Any]]:
        """Return the columns `PLAIN` with values, except ``is_snapshot``. Times are as sent."""
        builders = self.schema.builders(snapshots=self.are_snapshots)
        if builders is None:
            raise SlowPathNeededError
        columns: dict[str, Sequence[Any]] = {}
        for name, builder in builders.items():
            if name == "is_snapshot":
                continue
            values = self.sent[builder.key]
            if builder.in_ms and builder.zeros:
                values = [None if value is None else value / 1000 for value in values]
            elif builder.in_ms:
                values = [value / 1000 if value else value for value in values]
            elif name == "original_call_execution_id" and self.are_snapshots:
                values = [value or None for value in values]
            columns[name] = values
        return columns

    def scenarios(self) -> tuple[Sequence[str | None], Sequence[str | None]]:
        """Return the names and ids of scenarios, whichever keys they were sent under."""
        names = self.sent.get(self.schema.scenario, self.nothing)
        ids = self.sent.get("scenario_id", self.nothing)
        if ScenarioWire in map(type, names):
            inner = [each.id if type(each) is ScenarioWire else None for each in names]
            if any(one and other and one != other for one, other in zip(inner, ids, strict=True)):
                raise SlowPathNeededError
            names = [each.name if type(each) is ScenarioWire else each for each in names]
            ids = [outer or each or outer for outer, each in zip(ids, inner, strict=True)]
        return names, ids

    def transcripts(self) -> Sequence[list[TurnWire] | None]:
        """Return the transcripts. An empty one may not be included in the list."""
        transcripts: Sequence[list[TurnWire] | None]
        transcripts = self.sent.get(self.schema.transcript, self.nothing)
        if [] not in transcripts or WITHHOLDING.isdisjoint(map(type, self.sources)):
            return transcripts
        return [
            None if turns == [] and self.is_withheld(row) else turns for row, turns in enumerate(transcripts)
        ]

    def is_withheld(self, row: int) -> bool:
        """Whether an empty transcript means that the list does not include it."""
        call_type = self.sent.get("simulation_call_type", self.nothing)[row]
        place, batch = self.places[row], self._batch
        return place not in batch.has_detail and withholds(self.sources[row], batch.raws[place], call_type)

    def json_parts(self) -> dict[str, Sequence[Raw]]:
        """Return the columns `JSON_PARTS` with values, as sent."""
        projection = self.schema.projection
        names = [name for name in JSON_PARTS if name in self.sent and name in projection.calls]
        parts: dict[str, Sequence[Raw]] = {name: self.sent[name] for name in names}
        if "rerun_snapshots" in names and projection.left_out:
            parts["rerun_snapshots"] = list(map(projection.snapshots, parts["rerun_snapshots"]))
        return parts

    def extras(self) -> list[bytes]:
        """Return ``extra`` of each row as JSON."""
        if not self.schema.extra:
            return [b"{}"] * len(self.nothing)
        return list(join_objects({name: self.sent[name] for name in self.schema.extra}))


def in_utc(moments: Sequence[datetime | None]) -> Sequence[datetime | None]:
    """Return times in UTC. Times without a zone are in UTC, and most already are."""
    if all(moment is None or moment.tzinfo is UTC for moment in moments):
        return moments
    try:
        return [moment and _in_utc(moment) for moment in moments]
    except OverflowError as error:  # a year that UTC has not
        raise SlowPathNeededError from error


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
