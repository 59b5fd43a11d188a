"""The end of a list that is counted first: read again, later, before it is believed.

COUNT comes before the rows, whose LIMIT is cut to it. A row that enters in between pushes the oldest one
off the end, and "no next page" proves nothing.
"""

from math import ceil, exp, inf, log

from futureagi_async._sansio.covering.keyranges import KeyRange
from futureagi_async._sansio.covering.pages import CoverSizes, PageRequest, PageResult
from futureagi_async._sansio.covering.windows import tail_window

_RESIDUAL = 1e-4
"""How likely the oldest row may fall off the end of every read that looked for it."""
_GAP_SHARE = 0.25
"""The share of the quickest request's time that may lie between the server's two statements."""
_MOST_READS = 12


class EndConfidence:
    """How many reads must agree on the end, given how fast rows enter.

    A row that enters between COUNT and the rows pushes the oldest off. One read that nothing enters
    during settles it; the more rows enter a second, the more reads it takes to be sure of such a one.
    """

    def __init__(self) -> None:
        self._count: int | None = None
        self._entered = 0
        self._first_at = self._last_at = 0.0
        self._quickest_seconds = inf

    def note(self, result: PageResult) -> None:
        """Learn from any answer how fast the list grows."""
        if result.count is None:
            return
        if self._count is None:
            self._first_at = result.sent_at
        else:
            self._entered += max(0, result.count - self._count)
        self._count, self._last_at = result.count, result.received_at
        self._quickest_seconds = min(self._quickest_seconds, result.received_at - result.sent_at)

    def forget(self) -> None:
        """Begin anew after an interruption, of which nobody knows what it brought."""
        self._count, self._entered = None, 0

    def reads_needed(self) -> int | None:
        """Return how many reads of the end must agree, the first included; ``None``: no number is enough."""
        if not self._entered:
            return 2
        per_second = self._entered / max(self._last_at - self._first_at, 1e-9)
        pushed_off = 1 - exp(-per_second * self._quickest_seconds * _GAP_SHARE)
        if not 0 < pushed_off < 1:
            return 2 if pushed_off <= 0 else None
        reads = max(2, ceil(log(_RESIDUAL) / log(pushed_off)))
        return reads if reads <= _MOST_READS else None


class TailRead:
    """Reads the end again, until enough reads show nothing new."""

    def __init__(self, page_size: int, sizes: CoverSizes) -> None:
        self.agreeing = 1
        """Reads of the end so far that agree on its lowest row."""
        self._page_size = page_size
        self._least_rows = sizes.tail
        self._margin = sizes.tail
        """How far before the end the next read begins."""
        self._request: PageRequest | None = None

    def next_page(self, count: int, largest_tie: int) -> PageRequest:
        """Return a page that begins well before the end and reaches past it."""
        self._margin = max(self._margin, largest_tie + 1)
        self._request = tail_window(count, self._margin, self._page_size)
        return self._request

    def requested(self, request: PageRequest) -> bool:
        """Whether ``request`` was this one's."""
        return request is self._request

    def add_result(self, result: PageResult, lowest: KeyRange | None) -> None:
        """Compare the end with the lowest key known so far."""
        request, count = result.request, result.count
        keys = [key for key in result.keys if key is not None]
        if count is None or request.end < count or result.has_next:
            return  # the list has grown or shrunk past the page
        if count == 0:
            self.agreeing += 1
            return
        newest = inf if request.page == 1 else keys[0] if keys else -inf
        joins = lowest is not None and newest > max([lowest.low, *keys[-1:]])
        if not joins:  # all its rows share one key, or lie below what was known
            self._margin *= 2
        begins_before = request.page == 1 or count - request.offset >= min(self._least_rows, count)
        if joins and begins_before and lowest is not None and (not keys or keys[-1] >= lowest.low):
            self.agreeing += 1
        else:
            self.agreeing = 1
