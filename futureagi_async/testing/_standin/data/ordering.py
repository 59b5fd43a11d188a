"""Rows newest first, with no tie-break: what LIMIT and OFFSET make of `ORDER BY updated_at DESC`."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

Entry = tuple[int, int]
"""The negated key, so that ascending order is newest first, and the row's serial number."""


class NewestFirst:
    """The places of rows, kept sorted; entering and leaving cost a bisection and a short memory move."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._keys: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, serial: int) -> bool:
        return serial in self._keys

    def extend(self, rows: Sequence[tuple[int, int]]) -> None:
        """Add many `(key, serial)` at the cost of one sort."""
        self._keys.update((serial, key) for key, serial in rows)
        self.entries.extend((-key, serial) for key, serial in rows)
        self.entries.sort()

    def put(self, key: int, serial: int) -> None:
        self._keys[serial] = key
        insort(self.entries, (-key, serial))

    def take(self, serial: int) -> None:
        """Remove the row if it is there."""
        key = self._keys.pop(serial, None)
        if key is not None:
            del self.entries[bisect_left(self.entries, (-key, serial))]


def window(entries: Sequence[Entry], offset: int, limit: int, draw: random.Random) -> list[int]:
    """Return the serials at `offset`, rows of one key in the order `draw` gives them for this one query.

    A group that reaches over an edge of the window leaves it to chance which of its rows lie inside;
    another query, for the neighbouring page, draws anew. So pages repeat and lose rows without a write.
    """
    stop = min(offset + max(limit, 0), len(entries))
    place, chosen = offset, []
    while place < stop:
        key = entries[place][0]
        first, end = _group_bounds(entries, place, key)
        inside = min(end, stop) - place
        if end - first == 1:
            chosen.append(entries[place][1])
        else:
            chosen.extend(entries[i][1] for i in draw.sample(range(first, end), inside))
        place += inside
    return chosen


def _group_bounds(entries: Sequence[Entry], place: int, key: int) -> tuple[int, int]:
    """Where the rows with this key begin and end; a lone row, the usual case, costs two comparisons."""
    first = place
    if place and entries[place - 1][0] == key:
        first = bisect_left(entries, (key,), hi=place)
    end = place + 1
    if end < len(entries) and entries[end][0] == key:
        end = bisect_left(entries, (key + 1,), lo=end)
    return first, end
