"""Reads a whole list, or the rows of one window of creation time, as one page."""

from collections import deque
from math import ceil

import attrs

from futureagi_async._sansio.covering.pages import (
    CoverSizes,
    ListTraits,
    PageRequest,
    PageResult,
    holds_all,
)
from futureagi_async._sansio.covering.tails import EndConfidence
from futureagi_async._sansio.covering.windows import tail_window

PATIENCE_SECONDS = 3.0
"""Maximum seconds of one page; parallel pages would deliver its rows sooner."""
PATIENCE_SECONDS_SLOTS_FULL = 15.0
"""The same, while other lists use all slots."""
PATIENCE_SECONDS_WITHOUT_KEYS = 60.0
"""The same, for rows without a time of last change, whose list can't be verified in another way."""
_READS = 10
"""Attempts before a list that keeps growing beyond its page is covered instead."""


class AtomicRead:
    """Decides whether a list fits on one page, and reads it as one page.

    If a list is counted before its rows are read, a row that enters in between pushes the oldest row off the
    end of the page. For such a list the end is read first, and the one page last: the oldest rows are in one
    of the two unless this happened in both.
    """

    def __init__(
        self, traits: ListTraits, first: PageResult, end_confidence: EndConfidence, sizes: CoverSizes
    ) -> None:
        self.first = first
        self.proven = False
        self.failed = False
        self._traits = traits
        self._end_confidence = end_confidence
        self._sizes = sizes
        self._count = first.count or 0
        self._tail: PageResult | None = first if self._reaches_end(first) else None
        self._before: PageResult | None = None
        self._agreeing = 1
        """Number of reads of the end in a row that agree."""
        self._reads = 0

    @property
    def proven_by_first(self) -> bool:
        """Whether page 1 was already the whole list."""
        return not self._traits.counted_first and self._reaches_end(self.first)

    def fits(self, max_body_bytes: int, *, slots_full: bool) -> bool:
        """Whether to try one page, based on the response time of page 1."""
        rows = self.rows
        result = self.first
        read = max(1, len(result.keys))
        seconds = (result.received_at - result.sent_at) * rows / read
        patience = PATIENCE_SECONDS_SLOTS_FULL if slots_full else PATIENCE_SECONDS
        if result.lacks_keys:
            patience = PATIENCE_SECONDS_WITHOUT_KEYS
        small = result.body_bytes * rows / read <= max_body_bytes / 2
        return rows <= self._sizes.largest_limit and seconds <= patience and small

    def next_page(self) -> PageRequest:
        """Return the tail first, if it is needed and its start is known, and then the one page."""
        if self._traits.counted_first and self._tail is None and not self.first.lacks_keys:
            return tail_window(self._count, self._sizes.tail, 2 * self._sizes.tail)
        return PageRequest(1, self.rows, optional=True)

    def add_result(self, result: PageResult) -> None:
        """Process the tail, or the one page."""
        self._reads += 1
        self._count = result.count if result.count is not None else min(self._count, result.request.offset)
        self._agreeing = self._agreeing + 1 if self._tail_is_in(result) else 1
        needed = self._end_confidence.reads_needed() if self._traits.counted_first else 1
        whole = result.request.page == 1 and self._reaches_end(result)
        self.proven = whole and needed is not None and self._agreeing >= needed
        if self._reaches_end(result):
            self._tail = result
        tired = self._reads >= _READS or self.rows > self._sizes.largest_limit
        in_vain = not whole and self._is_as_before(result)
        self._before = result
        self.failed = not self.proven and (tired or in_vain or needed is None)

    @property
    def rows(self) -> int:
        """Number of rows to request, so that the list still fits after growing a little."""
        return ceil(self._count * 1.1) + self._sizes.growth

    def _reaches_end(self, result: PageResult) -> bool:
        if not self._traits.counted_first:
            return holds_all(result, self._traits, self._sizes)
        request, count = result.request, result.count
        if count is None or request.end < count or result.has_next:
            return False
        return request.page == 1 or count - request.offset >= self._sizes.tail

    def _is_as_before(self, result: PageResult) -> bool:
        """Whether the page had the same rows twice, so that a third read would have them, too."""
        before = self._before
        return before is not None and (before.request, before.count, before.ids) == (
            result.request,
            result.count,
            result.ids,
        )

    def _tail_is_in(self, result: PageResult) -> bool:
        """Whether the page overlaps with the earlier read of the end, so that no oldest row is missing.

        A tail must begin above the key of the oldest rows: if it has only some of the rows with that key, the
        page may miss another of them.
        """
        tail = self._tail
        if tail is None:
            return False
        whole = tail.request.page == 1
        if whole and set(tail.ids) <= set(result.ids):
            return True
        lowest, highest_of_tail = result.keys[-1:], tail.keys[:1]
        if not lowest or not highest_of_tail or lowest[0] is None or highest_of_tail[0] is None:
            return False
        return whole or lowest[0] < highest_of_tail[0]


EARLIEST = 1_420_070_400.0  # 2015, before the service
_A_DAY_AHEAD = 86_400.0  # clocks of the server's workers may differ, and some run ahead of its Date
_SMALLEST_SECONDS = 0.001


@attrs.define(eq=False)
class _Window:
    start: float
    end: float
    end_confidence: EndConfidence = attrs.field(factory=EndConfidence)
    atomic: AtomicRead | None = None


class CreationWindows:
    """Chooses windows of creation time, and reads each as one page."""

    def __init__(self, traits: ListTraits, *, now: float, page_size: int, sizes: CoverSizes) -> None:
        self.trouble: str | None = None
        """Why a window can't be read."""
        self.last_sent_at = 0.0
        self._traits = traits
        self._page_size = page_size
        self._sizes = sizes
        self._waiting = deque([_Window(EARLIEST, now + _A_DAY_AHEAD)])
        self._in_flight: dict[PageRequest, _Window] = {}

    @property
    def done(self) -> bool:
        """Whether every window was read."""
        return not self._waiting and not self._in_flight and self.trouble is None

    def next_page(self) -> PageRequest | None:
        """Return a page of a window."""
        if not self._waiting:
            return None
        window = self._waiting.popleft()
        plain = window.atomic.next_page() if window.atomic is not None else PageRequest(1, self._page_size)
        request = attrs.evolve(plain, created=(window.start, window.end), optional=False)
        self._in_flight[request] = window
        return request

    def requested(self, request: PageRequest) -> bool:
        """Whether ``request`` belongs to a window."""
        return request in self._in_flight

    def add_result(self, result: PageResult) -> None:
        """Finish, continue or halve the window that was read."""
        window = self._in_flight.pop(result.request)
        window.end_confidence.note(result)
        self.last_sent_at = max(self.last_sent_at, result.sent_at)
        if window.atomic is None:
            self._begin(window, result)
            return
        window.atomic.add_result(result)
        if window.atomic.failed:
            self._halve(window)
        elif not window.atomic.proven:
            self._waiting.appendleft(window)

    def _begin(self, window: _Window, result: PageResult) -> None:
        atomic = AtomicRead(self._traits, result, window.end_confidence, self._sizes)
        if result.count == 0:
            return
        if atomic.rows > self._sizes.largest_limit:
            self._halve(window)
        else:
            window.atomic = atomic
            self._waiting.appendleft(window)

    def _halve(self, window: _Window) -> None:
        middle = (window.start + window.end) / 2
        if window.end - window.start < _SMALLEST_SECONDS:
            self.trouble = "More calls were created within one millisecond than fit on one page."
            return
        self._waiting.extendleft([_Window(middle, window.end), _Window(window.start, middle)])
