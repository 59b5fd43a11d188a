"""The fast path to Arrow columns: rows with the same keys are decoded into one struct type."""

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
    TIMES,
    WITHHOLDING,
    CallWire,
    PartsWire,
    ScenarioWire,
    TurnWire,
    withholds,
)
from futureagi_async.export.formats.arrow_arrays import (
    Arrow,
    array,
    joined_array,
    sent_array,
    source_arrays,
    transcript_column,
)
from futureagi_async.export.formats.projection import WHOLE, Projection
from futureagi_async.export.formats.records import (
    Batch,
    WireEvals,
    decode_evals,
    extra_names,
    extra_template,
    transcript_key,
)
from futureagi_async.export.formats.schema import JSON_PARTS, PLAIN, SourceColumns


class ColumnBuilder(NamedTuple):
    """What a column is built from."""

    key: str
    in_ms: bool = False
    """Whether it is sent in milliseconds, where the column has seconds."""


ColumnBuilders: TypeAlias = Mapping[str, ColumnBuilder]
"""By column; one that is not in it has no values."""


def builders_of(keys: Container[str], names: Iterable[str] = PLAIN) -> ColumnBuilders:
    """Return what columns of `PLAIN` of a row are built from: the first key present, in its unit."""
    builders: dict[str, ColumnBuilder] = {}
    for name in names:
        key = next((key for key in SCALAR_KEYS.get(name, (name,)) if key in keys), None)
        if key is not None:
            builders[name] = ColumnBuilder(key, in_ms=_is_in_ms(name, key, keys))
    return builders


def snapshot_builders_of(keys: Container[str], names: Collection[str] = PLAIN) -> ColumnBuilders | None:
    """Return the same for a snapshot; ``None`` where keys alone do not tell.

    One of a served run-test list, told by its lack of ``created_at``, sends milliseconds.
    """
    if "created_at" in keys:
        return None  # which may be null
    builders = dict(builders_of(keys, names))
    if "snapshot_timestamp" in keys or "original_call_execution_id" in keys:
        in_ms = [name for name in SECONDS if name in keys and name in names]
        builders |= {name: ColumnBuilder(name, in_ms=True) for name in in_ms}
    return builders


def _is_in_ms(name: str, key: str, keys: Container[str]) -> bool:
    if name not in SECONDS:
        return False
    beside = name in MILLISECONDS_BESIDE_MS and "avg_agent_latency_ms" in keys
    return key.endswith("_ms") or (beside and key == name)


_TYPES: Final[Mapping[str, Any]] = {
    field.name: field.type for kind in (PartsWire, CallWire) for field in msgspec.structs.fields(kind)
}
_REMEMBERED = 16  # schemas: rows of more of them at a time would gain nothing by it
_NEW_AT_ONCE = 4  # schemas that are learnt from one batch: each takes a millisecond


class RowSchema:
    """What rows with the same keys are decoded into; values that no column needs are not looked into."""

    def __init__(self, keys: Sequence[str], projection: Projection = WHOLE) -> None:
        self.keys = keys
        """In the order of a row's values."""
        self.projection = projection
        extra = extra_names(keys)
        self.extra = [name for name in extra if name not in projection.removed_keys]
        self.transcript = transcript_key(keys)
        self.scenario = "scenario" if "scenario" in keys else "scenario_name"
        plain = [name for name in PLAIN if name in projection.calls]
        self._builders = builders_of(keys, plain)
        self._snapshot_builders = snapshot_builders_of(keys, plain)
        names = [f"value_{place}" for place in range(len(keys))]
        as_sent = {*extra, *JSON_PARTS}
        if projection.left_out:
            as_sent |= set(keys) - self._needed(projection)
        struct = _struct(keys, names, as_sent)
        self.decode: Callable[[bytes], Struct] = msgspec.json.Decoder(struct).decode
        """Decodes a row of just these keys, or raises one of `JSON_ERRORS`."""
        self.is_snapshot: Callable[[Struct], bool | None] = (
            attrgetter(names[keys.index("is_snapshot")]) if "is_snapshot" in keys else lambda _: False
        )

    def _needed(self, projection: Projection) -> set[str]:
        """Return the keys whose values columns are made of."""
        needed = {"id", "is_snapshot"}
        for builders in (self._builders, self._snapshot_builders or {}):
            needed |= {builder.key for builder in builders.values()}
        if "transcript" in projection.calls:
            needed |= {self.transcript, "simulation_call_type"}  # which may say that it is withheld
        if not projection.calls.keys().isdisjoint(("scenario_name", "scenario_id")):
            needed |= {self.scenario, "scenario_id"}
        return needed

    def builders(self, *, snapshots: bool) -> ColumnBuilders | None:
        """Return what columns are built from; ``None`` where keys alone do not tell."""
        return self._snapshot_builders if snapshots else self._builders


@attrs.define
class Rows:
    """Rows of one schema; all of them snapshots, or none."""

    schema: RowSchema
    are_snapshots: bool
    structs: list[Struct] = attrs.field(factory=list)
    places: list[int] = attrs.field(factory=list)
    """Where they stand in their batch."""


def _decode_alike(schema: RowSchema, raws: Sequence[bytes]) -> Rows | None:
    """Return rows that all have one schema and are no snapshots, as most batches are; ``None`` for others."""
    try:
        structs = list(map(schema.decode, raws))
    except JSON_ERRORS:
        return None
    if any(map(schema.is_snapshot, structs)):
        return None
    return Rows(schema, are_snapshots=False, structs=structs, places=list(range(len(raws))))


class RowSchemas:
    """The schemas of a file's rows, learnt from the rows."""

    def __init__(self, projection: Projection = WHOLE) -> None:
        self.projection = projection
        self._known: dict[frozenset[str], RowSchema | None] = {}
        self._recent: list[RowSchema] = []
        """The two that rows had last, as lists with snapshots have two."""
        self._learnt = 0

    def sort(self, raws: Sequence[bytes]) -> tuple[list[Rows], list[int]]:
        """Decode a batch's rows; return those of each schema, and the places of those that have none."""
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
                continue  # a key more, or a key less; or a value of another type
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
            self._known[found] = _make_schema(keys, self.projection)
        return self._known.get(found)


def _make_schema(keys: tuple[str, ...], projection: Projection) -> RowSchema | None:
    try:
        return RowSchema(keys, projection) if "id" in keys else None
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


class SlowPathNeededError(Exception):
    """Some of the rows have a value that does not fit its column, or whose unit their keys do not tell."""


class FastColumns:
    """The columns of some rows of one schema, or `SlowPathNeededError`."""

    def __init__(self, rows: Rows, batch: Batch, pa: Arrow) -> None:
        self._pa = pa
        self._schema = rows.schema
        self._rows = rows
        self._batch = batch
        self._nothing = (None,) * len(rows.places)
        self._sources = list(map(batch.sources.__getitem__, rows.places))
        columns = zip(*map(astuple, rows.structs), strict=True)
        self._sent: dict[str, Sequence[Any]] = dict(zip(rows.schema.keys, columns, strict=True))

    def evaluations(self) -> Sequence[WireEvals]:
        """Return the evaluations of each row."""
        if "eval_outputs" not in self._sent:
            return [{}] * len(self._nothing)
        try:
            return list(map(decode_evals, self._sent["eval_outputs"]))
        except JSON_ERRORS as error:
            raise SlowPathNeededError from error

    def batch(self, source_columns: SourceColumns, schema: Arrow) -> Arrow:
        """Return a record batch."""
        pa = self._pa
        names = schema.names
        try:
            columns = self.plain_columns()
            if "scenario_name" in names or "scenario_id" in names:
                columns |= self.scenario_columns()
            if "transcript" in names:
                columns["transcript"] = self.transcript_column(schema.field("transcript").type)
        except (pa.ArrowInvalid, OverflowError) as error:  # a number that no double holds, or a year of UTC's
            raise SlowPathNeededError from error
        columns |= source_arrays(pa, source_columns.of_all(self._sources)) | self.json_columns()
        empty = {field.name: field.type for field in schema if field.name not in columns}
        columns |= {name: pa.nulls(len(self._nothing), kind) for name, kind in empty.items()}
        return pa.RecordBatch.from_arrays([columns[name] for name in names], schema=schema)

    def plain_columns(self) -> dict[str, Arrow]:
        """Return the columns `PLAIN` for which something was sent."""
        builders = self._schema.builders(snapshots=self._rows.are_snapshots)
        if builders is None:
            raise SlowPathNeededError
        columns: dict[str, Arrow] = {}
        for name, builder in builders.items():
            values = self._sent[builder.key]
            if builder.in_ms:
                values = [value / 1000 if value else value for value in values]
            elif name in TIMES:
                check_years(values)
            elif name == "original_call_execution_id" and self._rows.are_snapshots:
                values = [value or None for value in values]
            columns[name] = array(self._pa, values, PLAIN[name])
        flag = self._pa.scalar(self._rows.are_snapshots)
        return columns | {"is_snapshot": self._pa.repeat(flag, len(self._nothing))}

    def scenario_columns(self) -> dict[str, Arrow]:
        """Return the scenarios' names and ids, wherever these were sent."""
        names = self._sent.get(self._schema.scenario, self._nothing)
        ids = self._sent.get("scenario_id", self._nothing)
        if ScenarioWire in map(type, names):
            inner = [each.id if type(each) is ScenarioWire else None for each in names]
            if any(one and other and one != other for one, other in zip(inner, ids, strict=True)):
                raise SlowPathNeededError
            names = [each.name if type(each) is ScenarioWire else each for each in names]
            ids = [outer or each or outer for outer, each in zip(ids, inner, strict=True)]
        return {
            "scenario_name": array(self._pa, names, "text"),
            "scenario_id": array(self._pa, ids, "text"),
        }

    def transcript_column(self, list_type: Arrow) -> Arrow:
        """Return the transcripts; an empty one may be withheld."""
        transcripts: Sequence[list[TurnWire] | None]
        transcripts = self._sent.get(self._schema.transcript, self._nothing)
        if [] in transcripts and not WITHHOLDING.isdisjoint(map(type, self._sources)):
            types = self._sent.get("simulation_call_type", self._nothing)
            transcripts = [
                None if turns == [] and self._is_withheld(place, call_type) else turns
                for turns, place, call_type in zip(transcripts, self._rows.places, types, strict=True)
            ]
        return transcript_column(self._pa, transcripts, list_type)

    def json_columns(self) -> dict[str, Arrow]:
        """Return what is JSON text, as it was sent."""
        projection = self._schema.projection
        names = [name for name in JSON_PARTS if name in self._sent and name in projection.calls]
        columns: dict[str, Arrow] = {name: sent_array(self._pa, self._sent[name]) for name in names}
        if "rerun_snapshots" in names and projection.left_out:
            kept = list(map(projection.snapshots, self._sent["rerun_snapshots"]))
            columns["rerun_snapshots"] = sent_array(self._pa, kept)
        if "extra" in projection.calls:
            columns["extra"] = self._extra_column()
        return columns

    def _extra_column(self) -> Arrow:
        names = self._schema.extra
        template = extra_template(names)
        if names:
            values = zip(*map(self._sent.__getitem__, names), strict=True)
            texts = [template % each for each in values]
        else:
            texts = [template] * len(self._nothing)
        return joined_array(self._pa, texts)

    def _is_withheld(self, place: int, call_type: str | None) -> bool:
        batch = self._batch
        return place not in batch.has_detail and withholds(batch.sources[place], batch.raws[place], call_type)


def check_years(moments: Sequence[datetime | None]) -> None:
    """Raise `OverflowError` where UTC has no year for one of the times."""
    for moment in moments:
        if moment is not None and moment.tzinfo is not UTC and moment.tzinfo is not None:
            moment.astimezone(UTC)
