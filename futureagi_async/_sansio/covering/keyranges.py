"""Ranges of sort keys: which were read, and the gaps between them."""

from bisect import bisect_left, bisect_right
from math import inf, nextafter

import attrs


@attrs.define(frozen=True)
class Span:
    """The positions of a page, and its number of rows. Positions of deleted calls have no row."""

    start: int
    end: int
    rows: int

    def before_last(self, rows: int) -> int:
        """Return a position at or before the last ``rows`` rows, assuming a constant density of rows."""
        return self.start + self.rows - rows if rows <= self.rows else self.start - self._rest(rows)

    def behind_first(self, rows: int) -> int:
        """Return a position after the first ``rows`` rows, under the same assumption."""
        return self.end - self.rows + rows if rows <= self.rows else self.end + self._rest(rows)

    def _rest(self, rows: int) -> int:
        return (rows - self.rows) * (self.end - self.start) // max(1, self.rows)


@attrs.define(frozen=True)
class KeyRange:
    """An interval of keys of which all rows were read: strictly between ``low`` and ``high``."""

    low: float
    high: float
    low_span: Span
    """The position of the page that had the key ``low``, or the end of the list."""
    high_span: Span


@attrs.define(frozen=True)
class Gap:
    """Keys from ``low`` to ``high``, both included, that are strictly inside no interval that was read."""

    low: float
    high: float
    above: Span | None = None
    """The position of the page that had the key ``high``; ``None`` if nothing is known above the gap."""
    below: Span | None = None
    """The position of the page that had the key ``low``; ``None`` if nothing is known below."""

    @property
    def keys(self) -> tuple[float, float]:
        """The identity of the gap."""
        return self.low, self.high


class KeyRanges:
    """Disjoint open intervals of keys in ascending order.

    Two intervals are joined only if a key is strictly inside both. If they only touch at one key, the rows
    with that key may be split between two reads that both miss some of them.
    """

    def __init__(self) -> None:
        self._ranges: list[KeyRange] = []
        self._lows: list[float] = []
        self._highs: list[float] = []

    def add(self, low: float, high: float, span: Span) -> None:
        """Add an interval. An empty interval adds nothing."""
        if low < high:
            self._insert(KeyRange(low, high, span, span))

    def bridge(self, gap: Gap) -> None:
        """Mark a gap as closed, whatever it contains."""
        span = Span(0, 0, 0)
        above, below = gap.above or span, gap.below or span
        self._insert(KeyRange(nextafter(gap.low, -inf), nextafter(gap.high, inf), below, above))

    def _insert(self, new: KeyRange) -> None:
        first = bisect_right(self._highs, new.low)
        last = bisect_left(self._lows, new.high)
        joined = self._ranges[first:last]
        low, high = new, new
        if joined and joined[0].low <= new.low:
            low = joined[0]
        if joined and joined[-1].high >= new.high:
            high = joined[-1]
        self._ranges[first:last] = [KeyRange(low.low, high.high, low.low_span, high.high_span)]
        self._lows[first:last] = [low.low]
        self._highs[first:last] = [high.high]

    def gaps(self, bottom: float, top: float) -> list[Gap]:
        """Return the gaps among the keys above ``bottom`` up to ``top``, newest first."""
        found: list[Gap] = []
        above = inf
        above_span: Span | None = None
        for below in reversed(self._ranges):
            if above <= bottom:
                break
            if below.high <= top:
                found.append(Gap(below.high, above, above_span, below.high_span))
            above, above_span = below.low, below.low_span
        if above > bottom:
            found.append(Gap(bottom, above, above_span))
        return found

    @property
    def lowest(self) -> KeyRange | None:
        """The interval with the oldest keys."""
        return self._ranges[0] if self._ranges else None
