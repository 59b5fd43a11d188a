"""The Arrow types of our columns; pyarrow is handed in by whoever imported it."""

from array import array as numbers
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

from msgspec import Raw

from futureagi_async.export.formats.schema import TURN, Kind

Arrow: TypeAlias = Any
"""pyarrow, or a value of it: it brings no types."""

_NULL_BYTES = len(b"null")


def array(pa: Arrow, values: Iterable[Any], kind: Kind) -> Arrow:
    """Return an array of plain values."""
    return pa.array(values, arrow_type(pa, kind))


def json_array(pa: Arrow, texts: Iterable[bytes | None]) -> Arrow:
    """Return a text array of JSON, which is UTF-8: the decoder has checked the record."""
    return pa.array(texts, pa.binary()).view(pa.string())


def sent_array(pa: Arrow, values: Sequence[Raw]) -> Arrow:
    """Return a text array of JSON as it was sent, null where it is."""
    if _NULL_BYTES not in map(len, values):
        return joined_array(pa, values)
    return json_array(pa, [None if sent == b"null" else sent for sent in map(bytes, values)])


def joined_array(pa: Arrow, texts: Sequence[bytes | Raw]) -> Arrow:
    """Return a text array without nulls: its bytes are copied just once."""
    ends = numbers("i", accumulate(map(len, texts), initial=0))
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts)))


def arrow_type(pa: Arrow, kind: Kind) -> Arrow:
    """Return the type of a column."""
    match kind:
        case "number":
            return pa.float64()
        case "time":
            return pa.timestamp("us", tz="UTC")
        case "flag":
            return pa.bool_()
        case "whole":
            return pa.int32()
        case "turns":
            return pa.list_(pa.struct([(name, arrow_type(pa, of)) for name, of in TURN.items()]))
        case "text" | "json":
            return pa.string()


def arrow_schema(pa: Arrow, columns: Mapping[str, Kind]) -> Arrow:
    """Return the schema of a table."""
    return pa.schema([(name, arrow_type(pa, kind)) for name, kind in columns.items()])


def is_double(value: Any) -> bool:
    """Whether a double holds a number (or the lack of one) exactly; decimals were read as doubles."""
    try:
        return not isinstance(value, int) or float(value) == value
    except OverflowError:
        return False
