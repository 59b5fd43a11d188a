"""One list of the API: which rows take a place in it, and which of those are delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from futureagi_async.testing._standin.data.ordering import Entry, NewestFirst, window
from futureagi_async.testing._standin.seeding import seeded_random

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from futureagi_async.testing._standin.data.rows import Listed, State

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

    def lift(self, row: Listed) -> None:
        """Take the row out while it changes."""
        self._places.take(row.serial)

    def settle(self, row: Listed) -> None:
        """Put the row where its key says, if the rule still holds it."""
        if self.rule.holds(row.state):
            self._places.put(row.key_us, row.serial)
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
