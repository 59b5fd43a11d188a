"""Which page of a small list to ask for next, and what the list held: no proof, but nothing lost lightly."""

from datetime import UTC, datetime
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")

PAGE_SIZE = 100
_MOST_PAGES = 10_000
"""A million rows; a server that goes on after them does not mean it."""
_MOST_PASSES = 3
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@attrs.define(frozen=True)
class Row(Generic[T]):
    """A record of a list: its id, when it came to be, and what it is to a caller."""

    id: str
    created_at: datetime | None
    value: T


@attrs.define(frozen=True)
class Page(Generic[T]):
    """A page of a list."""

    rows: list[T]
    count: int | None
    """How many rows the list has, where the server says so."""
    more: bool
    """Whether it announces another page, whose address is not followed."""


class ListReading(Generic[T]):
    """Reads the pages of a list one after another, until it ends.

    A row that is deleted moves those behind it forward, one of them from the next page to the one before,
    where nobody reads it. So where the counts of several pages do not agree with what came, the list is
    read again, three times at most, and what any pass found is kept.
    """

    def __init__(self) -> None:
        self.page = 1
        """The page to ask for next."""
        self.done = False
        self._passes = 1
        self._found: dict[str, Row[T]] = {}
        self._earlier: dict[str, Row[T]] = {}
        self._counts: set[int] = set()

    def take(self, page: Page[Row[T]]) -> None:
        """Take the page that was asked for; one that brings nothing new is the last, whatever it says."""
        known = len(self._found)
        for row in page.rows:
            self._found.setdefault(row.id, row)
        if page.count is not None:
            self._counts.add(page.count)
        if page.more and len(self._found) > known and self.page < _MOST_PAGES:
            self.page += 1
        else:
            self.end()

    def end(self) -> None:
        """Take note that the page that was asked for is past the end."""
        if self.page == 1 or self._counts <= {len(self._found)}:
            self._earlier.clear()  # what only an earlier pass found was deleted since
            self.done = True
        elif self._passes == _MOST_PASSES:
            self.done = True
        else:
            self._passes += 1
            self._earlier.update(self._found)
            self._found.clear()
            self._counts.clear()
            self.page = 1

    def newest_first(self) -> tuple[T, ...]:
        """Return what was found, each once; what tells no time comes last, as the server sent it."""
        rows = {**self._earlier, **self._found}.values()
        return tuple(
            row.value for row in sorted(rows, key=lambda row: row.created_at or _LONG_AGO, reverse=True)
        )
