"""Lists of a few rows as values: what a server's statements return, and every change that may come between.

`list_model` draws changes at random, for lists of any length; here each change of a list gives another
value, so that all of them can be tried.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Any, NamedTuple, TypeAlias

import attrs

from futureagi_async._sansio.covering.pages import DELTA_SECONDS, ListTraits, PageRequest

NOW = 1_750_000_000.0
LATE_SECONDS = DELTA_SECONDS - 1.0
"""How long before it shows up a late change took its key."""
_APART = 1 / 1024
"""Seconds between the keys of two changes at one point."""
_OLDEST_CREATION = 1_450_000_000.0
_CREATED_APART = 30_000_000.0

Numbers: TypeAlias = int
"""A set of row numbers, one bit each."""
Result: TypeAlias = Any
"""What a statement returned: a count, the rows in some places, or rows with their keys."""


class Answer(NamedTuple):
    """What a page shows."""

    counted: int
    rows: tuple[tuple[int, float], ...]
    """Numbers and keys."""


class Row(NamedTuple):
    """A row as the server stores it."""

    key: float
    number: int
    hole: bool = False
    """Soft-deleted: on run tests it keeps its place and is not delivered."""

    @property
    def created(self) -> float:
        """When it was created, which has nothing to do with the order of the list."""
        return _OLDEST_CREATION + _CREATED_APART * (self.number * 3 % 8)


class SmallList(NamedTuple):
    """The rows, newest first, and what happened to them."""

    rows: tuple[Row, ...]
    made: int
    """Rows that ever were in the list."""
    changes: tuple[str, ...] = ()

    def visible(self) -> Numbers:
        """Return the rows that a reader could be given now."""
        return sum(1 << row.number for row in self.rows if not row.hole)

    def changed(self, change: str, *rows: Row) -> "SmallList":
        """Return the list with other values of some rows, or with a further row."""
        others = {row.number: row for row in self.rows} | {row.number: row for row in rows}
        return self._replace(
            rows=tuple(sorted(others.values(), key=_newest_first)),
            made=max(self.made, *(row.number + 1 for row in rows)),
            changes=tuple(sorted((*self.changes, change))),
        )

    def without(self, gone: Row) -> "SmallList":
        """Return the list after a row was deleted."""
        rows = tuple(row for row in self.rows if row.number != gone.number)
        return self._replace(rows=rows, changes=tuple(sorted((*self.changes, "delete"))))


def _newest_first(row: Row) -> tuple[float, int]:
    return -row.key, row.number


@attrs.define(frozen=True)
class ListKind:
    """One of the server's lists, in one of its dialects."""

    name: str
    traits: ListTraits
    shows_keys: bool = True
    counts_past_the_end: bool = True

    @property
    def statements(self) -> tuple[str, ...]:
        """What a page is made from, in order."""
        return ("count", "slice") if self.traits.counted_first else ("places", "contents", "count")

    def execute(
        self,
        statement: str,
        rows: tuple[Row, ...],
        request: PageRequest,
        earlier: tuple[Result, ...],
        *,
        flipped: bool,
    ) -> Result:
        """Return a statement's result for a page whose ``earlier`` statements had those.

        Equal keys come in one order or, ``flipped``, in the other.
        """
        if flipped:
            rows = _flipped(rows)
        if request.created is not None:
            start, end = request.created
            rows = tuple(row for row in rows if start <= row.created < end)
        if statement == "count":
            return len(rows)
        if statement == "places":
            return tuple(row.number for row in rows[request.offset : request.end])
        if statement == "slice":
            return tuple((row.number, row.key) for row in rows[request.offset : min(request.end, earlier[0])])
        there = {row.number: row.key for row in rows if not row.hole}
        return tuple((number, there[number]) for number in earlier[0] if number in there)

    def answer(self, results: tuple[Result, ...]) -> Answer:
        """Return what the results of all statements make up."""
        if self.traits.counted_first:
            return Answer(*results)
        return Answer(results[2], results[1])

    def changes(self, before: SmallList, now: float) -> Iterator[SmallList]:
        """Yield what any one change that is committed now makes of a list."""
        at = now + _APART * len(before.changes)
        alive = [row for row in before.rows if not row.hole]
        for late, key in (("", at), ("late ", at - LATE_SECONDS)):
            yield before.changed(f"{late}insert", Row(key, before.made))
            for row in alive:
                yield before.changed(f"{late}update", row._replace(key=key))
        for row in alive:
            yield before.without(row)
        for pair in combinations(alive, 2):
            yield before.changed("tie", *(row._replace(key=at) for row in pair))
        if not self.traits.counted_first:
            for row in alive:
                yield before.changed("soft delete", row._replace(hole=True, key=at))
                yield before.changed("soft delete, same key", row._replace(hole=True))
        if self.traits.rows_enter_with_old_keys:
            for key in _old_keys(before.rows):
                yield before.changed("entry with an old key", Row(key, before.made))


@lru_cache(maxsize=1 << 14)
def _flipped(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.key, -row.number)))


def _old_keys(rows: tuple[Row, ...]) -> Iterator[float]:
    """Yield a key for each place between and behind rows, and each key there is."""
    keys = sorted({row.key for row in rows}, reverse=True)
    yield from keys
    yield from ((newer + older) / 2 for newer, older in pairwise(keys))
    yield (keys[-1] if keys else NOW) - 1.0
