"""Which keys have been scanned: open intervals, joined where they overlap strictly."""

from bisect import bisect_left, bisect_right
from math import inf

import attrs


@attrs.define(frozen=True)
class KeyRange:
    """All rows with a key strictly between ``low`` and ``high`` were seen."""

    low: float
    high: float
    low_at: int
    """The list offset where the row with key ``low`` stood when it was read."""
    high_at: int


@attrs.define(frozen=True)
class Gap:
    """Keys from ``low`` to ``high``, ends included, that no scan holds strictly inside."""

    low: float
    high: float
    low_at: int
    """Where the row with key ``low`` stood: the first row known below the gap."""
    high_at: int
    """Where the row with key ``high`` stood: the last row known above the gap."""


class KeyRanges:
    """Disjoint open intervals of keys in ascending order.

    Two intervals join only where they share some key strictly inside both: with equal ends, the rows
    of that one key may be split between two scans that both miss some of them.
    """

    def __init__(self) -> None:
        self._ranges: list[KeyRange] = []
        self._lows: list[float] = []
        self._highs: list[float] = []

    def add(self, low: float, high: float, *, low_at: int, high_at: int) -> None:
        """Add a scan; an empty interval adds nothing."""
        if not low < high:
            return
        first = bisect_right(self._highs, low)
        last = bisect_left(self._lows, high)
        joined = self._ranges[first:last]
        if joined and joined[0].low <= low:
            low, low_at = joined[0].low, joined[0].low_at
        if joined and joined[-1].high >= high:
            high, high_at = joined[-1].high, joined[-1].high_at
        self._ranges[first:last] = [KeyRange(low, high, low_at, high_at)]
        self._lows[first:last] = [low]
        self._highs[first:last] = [high]

    def gaps(self, bottom: float, top: float) -> list[Gap]:
        """Return what is missing of the keys above ``bottom`` up to ``top``, newest first."""
        found: list[Gap] = []
        above, above_at = inf, 0
        for below in reversed(self._ranges):
            if above <= bottom:
                break
            if below.high <= top:
                found.append(Gap(below.high, above, below.high_at, above_at))
            above, above_at = below.low, below.low_at
        if above > bottom:
            found.append(Gap(bottom, above, above_at, above_at))
        return found

    @property
    def lowest(self) -> KeyRange | None:
        """The interval with the oldest keys."""
        return self._ranges[0] if self._ranges else None
