"""Fields that are decoded when they are first read."""

from collections.abc import Callable
from typing import Any, TypeAlias

FieldReader: TypeAlias = Callable[[Any, str], Any]
"""Decodes one field of a record later; arguments: the record and the field's name."""


class LazyFields:
    """Leaves the slots of some fields empty until they are read.

    Python calls ``__getattr__`` only for an empty slot, so a field is decoded once. Comparing, pickling,
    copying and ``attrs.asdict`` read the fields in the ordinary way.

    ``field_reader`` and ``row`` are set by the decoder. A record that was created in another way has all its
    fields set, and does not need them.
    """

    __slots__ = ("field_reader", "row")

    lazy_fields: frozenset[str] = frozenset()

    field_reader: FieldReader
    row: int
    """The record's position among the records of its response; -1 for a single record."""

    def __getattr__(self, name: str) -> Any:
        if name not in type(self).lazy_fields:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = self.field_reader(self, name)
        setattr(self, name, value)
        return value


def read_lazy_fields(record: LazyFields) -> None:
    """Decode every public lazy field of a record now."""
    for name in record.lazy_fields:
        if not name.startswith("_"):
            getattr(record, name)
