"""Reads the pages of a small list. It does not verify completeness, but it retries if counts disagree."""

from datetime import UTC, datetime
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")

PAGE_SIZE = 100
_MOST_PAGES = 10_000
"""A million rows; more pages than this are a fault of the server."""
_MOST_PASSES = 3
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@attrs.define(frozen=True)
class Row(Generic[T]):
    """A record of a list: its id, its creation time, and its decoded value."""

    id: str
    created_at: datetime | None
    value: T


@attrs.define(frozen=True)
class Page(Generic[T]):
    """A page of a list."""

    rows: list[T]
    count: int | None
    """Number of rows of the list, if the server sends it."""
    more: bool
    """Whether the server announces another page. Its URL is not followed."""


class ListReading(Generic[T]):
    """Reads the pages of a list one after another, until it ends.

    If a row is deleted, the rows after it move forward, and one of them can move to a page that was already
    read. So if the counts of pages disagree with the received rows, the list is read again, at most three
    times. The result has the rows of all passes.
    """

    def __init__(self) -> None:
        self.page = 1
        """The next page to request."""
        self.done = False
        self._passes = 1
        self._found: dict[str, Row[T]] = {}
        self._earlier: dict[str, Row[T]] = {}
        self._counts: set[int] = set()

    def take(self, page: Page[Row[T]]) -> None:
        """Add the requested page. A page without new rows is the last one, whatever the server announces."""
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
        """Note that the requested page is past the end."""
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
        """Return the rows, each once. Rows without a creation time come last, in the server's order."""
        rows = {**self._earlier, **self._found}.values()
        return tuple(
            row.value for row in sorted(rows, key=lambda row: row.created_at or _LONG_AGO, reverse=True)
        )
