"""Decides how much of the front to read, to reach back to the beginning of a pass."""

from collections.abc import Sequence
from math import ceil, inf, sqrt

from futureagi_async._sansio.covering.budget import PageBounds
from futureagi_async._sansio.covering.pages import CoverSizes, PageRequest, PageResult
from futureagi_async._sansio.covering.places import Holes

_TO_SPARE = 1.3
"""Safety factors: for the expected number of rows, and after a read that did not reach."""
_LEAST_SECONDS = 0.05
"""Changes that are closer together than this do not show how fast rows change."""


class FrontRead:
    """Chooses the limit of page 1, from how fast rows moved to the front so far."""

    def __init__(self, holes: Holes, bounds: PageBounds, sizes: CoverSizes) -> None:
        self.missed: PageResult | None = None
        """The latest read since the beginning of the pass that did not reach."""
        self._holes = holes
        self._bounds = bounds
        self._sizes = sizes
        self._rows_a_second = 0.0
        self._least = 0
        """The minimum limit."""
        self._most = inf
        """The largest limit that can be read."""
        self._request: PageRequest | None = None

    def note(self, result: PageResult, moment: float, since: float) -> None:
        """Learn from page 1, sent at a ``moment`` of the server, how fast rows moved to it ``since`` then.

        The server's clock is known to a second; a newer key is more exact.
        """
        keys = [key for key in result.keys if key is not None]
        young = [key for key in keys if key > since]
        if young:
            begin = min(young) if len(young) == len(keys) else since
            self._rows_a_second = len(young) / max(max(moment, *young) - begin, _LEAST_SECONDS)
        elif keys:
            self._rows_a_second = 0.0

    def begin(self) -> None:
        """Discard the reads that did not reach: a new pass has begun."""
        self.missed, self._least = None, 0

    def rows_since(self, seconds: float) -> float:
        """Return the expected number of rows that changed in so many seconds, with a reserve."""
        expected = self._rows_a_second * seconds
        return _TO_SPARE * expected + 2 * sqrt(expected)

    def next_page(self, seconds: float, reach: int, count: int, most: float = inf) -> PageRequest | None:
        """Return page 1 with a limit that should reach back so many seconds, and to the position ``reach``.

        ``None`` if that is too much for a page, or for one of ``most`` rows, or does not help any more.
        """
        rows = max(self._sizes.smallest_limit, ceil(self.rows_since(seconds)))
        whole = count + self._sizes.overhang
        limit = min(max(self._holes.limit_for(rows), reach, self._least), whole)
        tried = 0 if self.missed is None else self.missed.request.limit
        largest = self._holes.limit_for(self._bounds.usual)
        if largest < limit <= _TO_SPARE * largest:  # it may well do without rows to spare
            limit = largest
        if limit <= tried or limit > min(most, self._most, largest):
            return None
        self._request = PageRequest(1, limit)
        return self._request

    def requested(self, request: PageRequest) -> bool:
        """Whether ``request`` is one of these pages."""
        return request is self._request

    def add_miss(self, result: PageResult, keys: Sequence[float]) -> None:
        """Process a page that did not reach."""
        self.missed = result
        factor = _TO_SPARE if keys else self._sizes.factor_for_ties
        self._least = ceil(result.request.limit * factor)

    def add_failure(self, request: PageRequest) -> None:
        """Read smaller pages after one that failed."""
        self._most = request.limit // 2
