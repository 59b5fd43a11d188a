"""Which of a row's keys fills which column, and in which unit: what the decoder decides row by row."""

from collections.abc import Container, Mapping
from typing import Final, NamedTuple, TypeAlias

from futureagi_async._sansio.decoding.copying import FIRST_OF, MILLISECONDS_BESIDE_MS, SECONDS, TIMES
from futureagi_async.export.formats.schema import PLAIN

_SEVERAL: Final = FIRST_OF | TIMES | SECONDS


class Filler(NamedTuple):
    """What fills a column."""

    key: str
    in_ms: bool = False
    """Whether it is sent in milliseconds, where the column has seconds."""


Fillers: TypeAlias = Mapping[str, Filler]
"""By column; one that is not in it has no values."""


def fillers_of(keys: Container[str]) -> Fillers:
    """Return what fills the columns `PLAIN` of a row: the first key present, in the column's unit."""
    fillers: dict[str, Filler] = {}
    for name in PLAIN:
        key = next((key for key in _SEVERAL.get(name, (name,)) if key in keys), None)
        if key is not None:
            fillers[name] = Filler(key, in_ms=_is_in_ms(name, key, keys))
    return fillers


def snapshot_fillers_of(keys: Container[str]) -> Fillers | None:
    """Return the same for a snapshot; ``None`` where keys alone do not tell.

    One of a served run-test list, told by its lack of ``created_at``, sends milliseconds.
    """
    if "created_at" in keys:
        return None  # which may be null
    fillers = dict(fillers_of(keys))
    if "snapshot_timestamp" in keys or "original_call_execution_id" in keys:
        fillers |= {name: Filler(name, in_ms=True) for name in SECONDS if name in keys}
    return fillers


def _is_in_ms(name: str, key: str, keys: Container[str]) -> bool:
    if name not in SECONDS:
        return False
    beside = name in MILLISECONDS_BESIDE_MS and "avg_agent_latency_ms" in keys
    return key.endswith("_ms") or (beside and key == name)
