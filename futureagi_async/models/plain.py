"""Values as plain JSON: the methods ``to_dict`` and ``to_json``."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import PurePath
from typing import Any, ClassVar, TypeAlias

import attrs

PlainDict: TypeAlias = dict[str, Any]
"""A dict that ``json.dumps`` accepts."""

_NOT_DATA = ("raw",)
_LAST = ("extra", "misfits")


class Plain:
    """Adds ``to_dict`` and ``to_json`` to an attrs class: its fields, under their own names."""

    __slots__ = ()

    added: ClassVar[tuple[str, ...]] = ()
    """Names of properties to put before the fields."""

    def to_dict(self) -> PlainDict:
        """Return the value as a dict for ``json.dumps``, with the units of the fields.

        Times are UTC text. ``misfits`` is ``None`` if there are none.
        """
        kind: Any = type(self)
        made = {name: plain(getattr(self, name)) for name in _names_of(kind)}
        if made.get("misfits") == {}:
            made["misfits"] = None
        return made

    def to_json(self) -> bytes:
        """Return `to_dict` as one line of JSON in UTF-8, without a newline at the end."""
        return encode(self.to_dict())


@cache
def _names_of(kind: Any) -> tuple[str, ...]:
    names = [field.name for field in attrs.fields(kind) if field.name not in _NOT_DATA]
    return (*kind.added, *sorted(names, key=_LAST.__contains__))


_AS_THEY_ARE = frozenset((type(None), bool, int, float, str))


def plain(value: Any) -> Any:
    """Return a value for JSON: times as UTC text, errors as their class and message."""
    if type(value) in _AS_THEY_ARE:  # most are
        return value
    if hasattr(value, "to_dict"):
        return value.to_dict()
    match value:
        case Mapping():
            return {str(key): plain(each) for key, each in value.items()}
        case tuple() | list():
            return list(map(plain, value))
        case datetime():
            return utc_text(value)
        case PurePath():
            return str(value)
        case BaseException():
            return {"error": type(value).__name__, "message": str(value)}
        case str() | int() | float():  # of a kind of their own, such as `CallStatus`
            return value
    raise TypeError(f"A {type(value).__name__} can't be converted to JSON.")


def utc_text(moment: datetime) -> str:
    """Return a time in UTC, such as ``2026-01-31T12:00:00Z``. A time without a zone is taken as UTC."""
    aware = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.isoformat().replace("+00:00", "Z")


def encode(value: Any) -> bytes:
    """Return compact JSON. Raises `ValueError` for a number that JSON does not allow, such as NaN."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
