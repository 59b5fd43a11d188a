"""Decides which page of a list to read next, and what may be said about the whole."""

from collections.abc import Sequence
from math import ceil

import attrs

from futureagi_async.models import Verdict


@attrs.define(frozen=True)
class Ask:
    """A page to read."""

    page: int
    limit: int


@attrs.define(frozen=True)
class Seen:
    """What an answer showed of the list."""

    count: int
    """The list's length as the server counted it."""
    ids: Sequence[str]
    has_next: bool


@attrs.define(frozen=True)
class Finding:
    """What may be said of a list once nothing is left to ask."""

    verdict: Verdict
    reason: str


class Cover:
    """The reading of one list: ask, feed the answers back, until there is a finding.

    Call `next_ask` whenever a request may be sent; ``None`` means "not now": wait for an answer to
    `take`, or stop where `finding` is set.
    """

    def __init__(self, *, page_size: int) -> None:
        self._page_size = page_size
        self._next_page = 1
        self._last_page = 1
        self._in_flight = 0
        self._lost = 0
        self._pages_read = 0
        self._one_page_had_all = False
        self.count: int | None = None
        self.finding: Finding | None = None

    def next_ask(self) -> Ask | None:
        """Return a page to read now."""
        if self.finding is not None or self._next_page > self._last_page:
            return None
        self._next_page += 1
        self._in_flight += 1
        return Ask(self._next_page - 1, self._page_size)

    def take(self, ask: Ask, seen: Seen) -> None:
        """Take an answer into account."""
        self.count = seen.count
        self._pages_read += 1
        self._one_page_had_all = ask.page == 1 and not seen.has_next and len(seen.ids) == seen.count
        self._last_page = max(self._last_page, ceil(seen.count / self._page_size))
        self._settle()

    def lose(self, ask: Ask) -> None:
        """Take into account that a page could not be read."""
        self._lost += 1
        self._settle()

    def _settle(self) -> None:
        self._in_flight -= 1
        if self._in_flight or (self._next_page <= self._last_page and self._pages_read):
            return
        if self._lost:
            self.finding = Finding("incomplete", f"{self._lost} pages could not be read.")
        elif self._pages_read == 1 and self._one_page_had_all:
            self.finding = Finding("complete", "One page held the whole list.")
        else:
            self.finding = Finding("incomplete", "The list may have changed between its pages.")
