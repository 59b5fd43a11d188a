"""Fields that are decoded when they are first read."""
# ruff: noqa: SLF001 - the functions below are the other half of the class

from collections.abc import Callable
from typing import Any, TypeAlias

FieldReader: TypeAlias = Callable[[Any, str], Any]
"""How a decoder reads one field of a record later: it is given the record and the field's name."""


class LazyFields:
    """Leaves the slots of some fields unset until they are asked for.

    Python calls ``__getattr__`` only where a slot is empty, so a field costs its decoding once and
    nothing afterwards. Comparing, pickling, copying and ``attrs.asdict`` read the fields in the
    ordinary way, and so see no difference.
    """

    __slots__ = ("_index", "_parts", "_read_field")

    lazy_fields: frozenset[str] = frozenset()

    _read_field: FieldReader
    _index: int
    _parts: Any

    def __getattr__(self, name: str) -> Any:
        if name not in type(self).lazy_fields:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = self._read_field(self, name)
        setattr(self, name, value)
        return value


def set_reader(record: LazyFields, read_field: FieldReader, index: int = -1) -> None:
    """Leave a new record's lazy fields to ``read_field``.

    ``index`` is the record's place among its neighbours.
    """
    record._read_field = read_field
    record._index = index
    record._parts = None


def index_of(record: LazyFields) -> int:
    """Return the record's place among its neighbours."""
    return record._index


def cached(record: LazyFields) -> Any:
    """Return the decoder's notes about the record."""
    return record._parts


def set_cached(record: LazyFields, parts: Any) -> None:
    """Replace the decoder's notes about the record."""
    record._parts = parts


def read_lazy_fields(record: LazyFields) -> None:
    """Decode every lazy field of a record now."""
    for name in record.lazy_fields:
        getattr(record, name)
