"""Ranges of sort keys: which were scanned, and what is missing between them."""

from bisect import bisect_left, bisect_right
from math import inf, nextafter

import attrs


@attrs.define(frozen=True)
class Span:
    """The places of a list that a page read, and how many rows it showed there; deleted calls show none."""

    start: int
    end: int
    rows: int

    def before_last(self, rows: int) -> int:
        """Return a place at or before the last ``rows`` rows; beyond the page, rows are as dense as on it."""
        return self.start + self.rows - rows if rows <= self.rows else self.start - self._rest(rows)

    def behind_first(self, rows: int) -> int:
        """Return a place behind the first ``rows`` rows, likewise."""
        return self.end - self.rows + rows if rows <= self.rows else self.end + self._rest(rows)

    def _rest(self, rows: int) -> int:
        return (rows - self.rows) * (self.end - self.start) // max(1, self.rows)


@attrs.define(frozen=True)
class KeyRange:
    """All rows with a key strictly between ``low`` and ``high`` were seen."""

    low: float
    high: float
    low_span: Span
    """Where the page lay that showed the key ``low``, or read the end of the list."""
    high_span: Span


@attrs.define(frozen=True)
class Gap:
    """Keys from ``low`` to ``high``, ends included, that no scan holds strictly inside."""

    low: float
    high: float
    above: Span | None = None
    """Where the page lay that showed the key ``high``; ``None`` where nothing is known above the gap."""
    below: Span | None = None
    """Where the page lay that showed the key ``low``; ``None`` where nothing is known below."""

    @property
    def keys(self) -> tuple[float, float]:
        """What tells it from other gaps."""
        return self.low, self.high


class KeyRanges:
    """Disjoint open intervals of keys in ascending order.

    Two intervals join only where they share some key strictly inside both: with equal ends, the rows
    of that one key may be split between two scans that both miss some of them.
    """

    def __init__(self) -> None:
        self._ranges: list[KeyRange] = []
        self._lows: list[float] = []
        self._highs: list[float] = []

    def add(self, low: float, high: float, span: Span) -> None:
        """Add a scan; an empty interval adds nothing."""
        if low < high:
            self._insert(KeyRange(low, high, span, span))

    def bridge(self, gap: Gap) -> None:
        """Take a gap for closed, whatever it holds."""
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
        """Return what is missing of the keys above ``bottom`` up to ``top``, newest first."""
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
