"""The Arrow types of our columns; pyarrow is handed in by whoever imported it."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from futureagi_async.export.formats.schema import TURN, Kind

Arrow: TypeAlias = Any
"""pyarrow, or a value of it: it brings no types."""


def array(pa: Arrow, values: Iterable[Any], kind: Kind) -> Arrow:
    """Return an array of plain values."""
    return pa.array(values, arrow_type(pa, kind))


def json_array(pa: Arrow, texts: Iterable[bytes | None]) -> Arrow:
    """Return a text array of JSON, which is UTF-8: the decoder has checked the record."""
    return pa.array(texts, pa.binary()).view(pa.string())


def arrow_type(pa: Arrow, kind: Kind) -> Arrow:
    """Return the type of a column."""
    if kind == "turns":
        return pa.list_(pa.struct([(name, arrow_type(pa, of)) for name, of in TURN.items()]))
    if kind == "time":
        return pa.timestamp("us", tz="UTC")
    return {"number": pa.float64(), "flag": pa.bool_(), "whole": pa.int32()}.get(kind, pa.string())


def arrow_schema(pa: Arrow, columns: Mapping[str, Kind]) -> Arrow:
    """Return the schema of a table."""
    return pa.schema([(name, arrow_type(pa, kind)) for name, kind in columns.items()])


def is_double(value: Any) -> bool:
    """Whether a double holds a number (or the lack of one) exactly; decimals were read as doubles."""
    try:
        return not isinstance(value, int) or float(value) == value
    except OverflowError:
        return False
