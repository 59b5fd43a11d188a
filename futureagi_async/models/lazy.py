"""Fields that are decoded when they are first read."""

from collections.abc import Callable
from typing import Any, TypeAlias

FieldReader: TypeAlias = Callable[[Any, str], Any]
"""How a decoder reads one field of a record later: it is given the record and the field's name."""


class LazyFields:
    """Leaves the slots of some fields unset until they are asked for.

    Python calls ``__getattr__`` only where a slot is empty, so a field costs its decoding once and
    nothing afterwards. Comparing, pickling, copying and ``attrs.asdict`` read the fields in the
    ordinary way, and so see no difference.

    The decoder that makes a record sets slots of its own besides; a record made in any other way has all
    its fields set and needs none of them.
    """

    __slots__ = ("field_reader", "row")

    lazy_fields: frozenset[str] = frozenset()

    field_reader: FieldReader
    row: int
    """The record's place among its neighbours; -1 for one that stands alone."""

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
