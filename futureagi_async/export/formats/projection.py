"""Selects the columns of an export, and removes the data of left-out columns from records."""

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import attrs
import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, Fields, decode_fields
from futureagi_async._sansio.decoding.misfits import Misfits
from futureagi_async._sansio.decoding.wire import CALL_KEYS
from futureagi_async.export.formats.records import NULL, json_of
from futureagi_async.export.formats.schema import CALLS, EVALUATIONS, SOURCE, Kind
from futureagi_async.options import brief

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "source": tuple(SOURCE),
    "scenario": ("scenario_name", "scenario_id"),
}
"""Columns that a normalised line holds in one object, by the key of the object."""


def group_of(name: str) -> str:
    """Return the key that holds a column in a normalised line."""
    return next((group for group, names in GROUPS.items() if name in names), name)


_ALIKE: Final[Mapping[str, tuple[str, ...]]] = {
    "eval_outputs": ("eval_metrics",),
    "eval_metrics": ("eval_outputs",),
    "recordings": ("audio_url",),
    "audio_url": ("recordings",),
}
"""Columns with the same data in another form. Dropping one also drops the other."""

_FURTHER_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "customer_name": ("phone_number", "customerName", "customerNumber", "phoneNumber"),
    "scenario_id": ("scenario",),
    "eval_outputs": ("error_localizer_tasks",),
    "recordings": ("stereo_recording_url",),
}
"""Keys of a record that also hold the data of a column, but fill no column or another one."""

_METADATA: Final = b"futureagi_async.left_out"
_ROOT: Final = re.compile(r"\w+")
_SNAPSHOT: Final = re.compile(r"rerun_snapshots\[\d+\]\.")
_decode_objects = msgspec.json.Decoder(list[Raw] | None).decode


@attrs.define(frozen=True, slots=False)
class Projection:
    """The columns in the table of calls of an export. Default: all."""

    calls: Mapping[str, Kind] = CALLS
    dropped: frozenset[str] = frozenset()
    """The left-out columns whose data must not appear anywhere else."""

    @classmethod
    def without(cls, left_out: Iterable[str]) -> "Projection":
        """Return a projection without some columns."""
        names = set(left_out)
        return cls({name: kind for name, kind in CALLS.items() if name not in names})

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """The left-out columns, in the order of the schema."""
        return tuple(name for name in CALLS if name not in self.calls)

    @property
    def metadata(self) -> dict[bytes, bytes] | None:
        """The metadata for an Arrow schema; empty if all columns are there. `left_out_of` reads it."""
        return {_METADATA: msgspec.json.encode(self.left_out)} if self.left_out else None

    @cached_property
    def evaluations(self) -> Mapping[str, Kind]:
        """The columns of the table of evaluations; none if the evaluations of calls are left out."""
        if "eval_outputs" not in self.calls:
            return {}
        return {name: kind for name, kind in EVALUATIONS.items() if name not in SOURCE or name in self.calls}

    @cached_property
    def removed_keys(self) -> frozenset[str]:
        """Keys of a record, or of a snapshot in it, whose values must not appear anywhere."""
        return frozenset(key for name in self.left_out for key in _keys_of(name))

    def misfits(self, misfits: Misfits) -> Misfits:
        """Return the misfits of the present columns; none if the column ``misfits`` is left out."""
        if not misfits or not self.left_out:
            return misfits
        if "misfits" not in self.calls:
            return {}
        kept = {path: sent for path, sent in misfits.items() if self._has(path)}
        if "rerun_snapshots" in kept:
            kept["rerun_snapshots"] = self.snapshots(kept["rerun_snapshots"])
        return kept

    def _has(self, path: str) -> bool:
        """Whether the value at a path such as ``transcript[0].content`` belongs to a present column."""
        root = _ROOT.match(path)
        if root is None or not all(name in self.calls for name in GROUPS.get(root[0], (root[0],))):
            return False
        inner = _SNAPSHOT.match(path)
        return inner is None or self._has(path[inner.end() :])

    def json_of(self, fields: Fields, name: str) -> bytes | None:
        """Return the JSON of a nested part without left-out data; ``None`` if it is null or was not sent."""
        return json_of(fields, name) if name != "rerun_snapshots" else self._json_of_snapshots(fields)

    def _json_of_snapshots(self, fields: Fields) -> bytes | None:
        sent = self.snapshots(fields.get("rerun_snapshots", NULL))
        return json_of({"rerun_snapshots": sent}, "rerun_snapshots")

    def snapshots(self, sent: Raw) -> Raw:
        """Return the JSON of ``rerun_snapshots`` without the data that is left out of calls.

        A value that is not a list of objects becomes null, because its content is unknown.
        """
        if not self.left_out:
            return sent
        try:
            records = list(map(decode_fields, _decode_objects(sent) or ()))
            kept = list(map(self._snapshot, records))
        except JSON_ERRORS:
            return Raw(b"null")
        is_unchanged = all(before is after for before, after in zip(records, kept, strict=True))
        return sent if is_unchanged else Raw(msgspec.json.encode(kept))

    def _snapshot(self, record: Fields) -> Fields:
        kept = record
        if not self.removed_keys.isdisjoint(record):
            kept = {key: value for key, value in record.items() if key not in self.removed_keys}
        if "rerun_snapshots" in kept:  # keys of a snapshot; no known server sends them
            kept = {**kept, "rerun_snapshots": self.snapshots(kept["rerun_snapshots"])}
        return kept


WHOLE: Final = Projection()


def left_out_of(schema: Any) -> tuple[str, ...]:
    """Return the columns that were left out of a Parquet file with this Arrow schema."""
    said = (schema.metadata or {}).get(_METADATA)
    return () if said is None else msgspec.json.decode(said, type=tuple[str, ...])


def _keys_of(name: str) -> tuple[str, ...]:
    field = "scenario" if name == "scenario_name" else name
    return (*CALL_KEYS.get(field, (name,)), *_FURTHER_KEYS.get(name, ()))


def choose_columns(columns: Iterable[str] | None, drop: Iterable[str]) -> Projection:
    """Return the requested columns in the order of the schema.

    ``id`` is always included. Raises `TypeError` and `ValueError` for invalid names.
    """
    chosen = None if columns is None else _expand(check_columns("columns", columns, _NAMES))
    named = _expand(check_columns("drop", drop, _NAMES, may_be_empty=True))
    if "id" in named:
        raise ValueError("drop must not name 'id': calls could not be distinguished without it.")
    dropped = {each: name for name in named for each in (name, *_ALIKE.get(name, ()))}
    for name in chosen or ():
        if name in named:
            raise ValueError(f"drop and columns both name {name!r}: remove it from one of them.")
        if name in dropped:
            raise ValueError(
                f"drop names {dropped[name]!r}, which has the same data as {name!r}, but columns names "
                f"{name!r}: leave one out."
            )
    kept = set(CALLS if chosen is None else chosen) - dropped.keys() | {"id"}
    left_out = Projection.without(name for name in CALLS if name not in kept)
    return attrs.evolve(left_out, dropped=frozenset(dropped))


_NAMES: Final = (*CALLS, *GROUPS)


def _expand(names: Iterable[str]) -> list[str]:
    return [each for name in names for each in GROUPS.get(name, (name,))]


def check_columns(
    argument: str, names: Iterable[str], known: Iterable[str] = CALLS, *, may_be_empty: bool = False
) -> tuple[str, ...]:
    """Return each name once. Raises `ValueError` for an unknown name, with the nearest known one."""
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise TypeError(f"{argument} must be a list of names, such as ['id', 'status'], not {brief(names)}.")
    found = tuple(dict.fromkeys(names))
    if not found and not may_be_empty:
        raise ValueError(f"{argument} must not be empty: leave it out to get all columns.")
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f": did you mean {near[0]!r}?" if near else "; docs/export-formats.md lists them."
            raise ValueError(f"{argument} has no column {brief(name)}{hint}")
    return found
