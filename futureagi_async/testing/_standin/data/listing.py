"""One list of the API: which rows are in it, in which order, page by page, and its history."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from attrs import define, field

from futureagi_async.testing._standin.data.values import seeded_random

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Hashable, Iterator, Sequence

ALWAYS = float("-inf")
"""The moment since which sample data has been there."""


class State(NamedTuple):
    """What decides in which lists a row stands and whether it is delivered."""

    exists: bool
    deleted: bool
    status: str | None
    evaluated: bool


@define(eq=False, kw_only=True)
class Listed:
    """A row as lists see it. `timeline` holds its states, each with the virtual moment it holds from.

    `serial` is the row's number in the world, and `fragments` its JSON by kind of row, once written.
    """

    id: str
    key_us: int
    state: State
    timeline: list[tuple[float, State]]
    serial: int = -1
    fragments: dict[str, bytes] = field(factory=dict, repr=False)


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

    def insert(self, key: int, serial: int) -> None:
        self._keys[serial] = key
        insort(self.entries, (-key, serial))

    def remove(self, serial: int) -> None:
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


RowT = TypeVar("RowT")

_FILTERED_KEPT = 8


class Rule:
    """What a kind of list asks of a row: to take a place in it, and to be delivered from there."""

    def __init__(self, holds: Callable[[State], bool], delivers: Callable[[State], bool]) -> None:
        self.holds = holds
        self.delivers = delivers


def _is_alive(state: State) -> bool:
    return state.exists and not state.deleted


RUN_TEST_RULE = Rule(lambda state: state.exists, _is_alive)
"""Soft-deleted calls keep their place and are counted, but are not delivered."""

EXECUTION_RULE = Rule(_is_alive, _is_alive)


def _is_result(state: State) -> bool:
    return state.exists and not state.deleted and state.evaluated and state.status == "completed"


VERSION_RULE = Rule(_is_result, _is_result)


class Listing:
    """A list, its rows in order, and every row that ever belonged to it."""

    def __init__(self, name: str, rule: Rule) -> None:
        self.name = name
        self.rule = rule
        self.members: list[Listed] = []
        self.gap_share = 0.2
        self._places = NewestFirst()
        self._revision = 0
        self._asked: dict[tuple[object, ...], int] = {}
        self._filtered: dict[Hashable, tuple[int, list[Entry]]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add_all(self, rows: Sequence[Listed]) -> None:
        """Make rows with serial numbers members, and place those that the rule holds."""
        self.members.extend(rows)
        self._places.extend([(row.key_us, row.serial) for row in rows if self.rule.holds(row.state)])
        self._revision += 1

    def remove(self, row: Listed) -> None:
        """Take the row out while it changes."""
        self._places.remove(row.serial)

    def insert(self, row: Listed) -> None:
        """Put the row where its key says, if the rule still holds it."""
        if self.rule.holds(row.state):
            self._places.insert(row.key_us, row.serial)
        self._revision += 1

    def holds(self, row: Listed) -> bool:
        return row.serial in self._places

    def entries(
        self, rows: Sequence[RowT], wanted: Callable[[RowT], bool] | None = None, name: Hashable = None
    ) -> list[Entry]:
        """Return the places: all, or those of the `wanted` rows, a condition known by its `name`."""
        if wanted is None:
            return self._places.entries
        revision, found = self._filtered.get(name, (-1, []))
        if revision != self._revision:
            found = [entry for entry in self._places.entries if wanted(rows[entry[1]])]
            while len(self._filtered) >= _FILTERED_KEPT:
                self._filtered.pop(next(iter(self._filtered)))
            self._filtered[name] = (self._revision, found)
        return found

    def select(
        self, entries: Sequence[Entry], offset: int, limit: int, *, seed: int, name: Hashable = None
    ) -> list[int]:
        """Read one statement's rows.

        The order of ties follows from the question and how often it was asked before, so it does not
        depend on what other readers do meanwhile.
        """
        question = (offset, limit, name)
        times = self._asked[question] = self._asked.get(question, -1) + 1
        return window(entries, offset, limit, seeded_random(seed, self.name, offset, limit, times))


def alive_throughout(listing: Listing, start: float, end: float, status: str | None) -> set[str]:
    """Return the ids of rows that were delivered at every moment from `start` to `end`."""
    counts = _counts(listing, status)
    return {row.id for row in listing.members if all(map(counts, _states(row, start, end)))}


def alive_sometime(listing: Listing, start: float, end: float, status: str | None) -> set[str]:
    """Return the ids of rows that were delivered at some moment from `start` to `end`."""
    counts = _counts(listing, status)
    return {row.id for row in listing.members if any(map(counts, _states(row, start, end)))}


def _counts(listing: Listing, status: str | None) -> Callable[[State | None], bool]:
    def counts(state: State | None) -> bool:
        if state is None or not listing.rule.delivers(state):
            return False
        return status is None or state.status == status

    return counts


def _states(row: Listed, start: float, end: float) -> Iterator[State | None]:
    """Yield the state at `start`, `None` before the row was there, and each that came up to `end`."""
    timeline = row.timeline
    first = bisect_right(timeline, start, key=lambda entry: entry[0])
    yield timeline[first - 1][1] if first else None
    for moment, state in timeline[first:]:
        if moment > end:
            return
        yield state
