"""One pass over a list: overlapping windows, the key ranges they scan, and repairs of gaps."""

from bisect import bisect_left, bisect_right
from math import inf

import attrs

from futureagi_async._sansio.covering.pages import (
    RUN_TEST_OVERHANG,
    ListTraits,
    PageRequest,
    PageResult,
    largest_tie,
    tail_window,
    window_around,
    window_from,
)


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


_LEAST_OVERLAP = 5
_AHEAD_OF_A_BOTTOM = 2
"""Windows in flight where only the keys, not the count, tell how far to read."""
_FACTOR_FOR_TIES = 4
"""How much larger pages get where half of one, or a whole repair, shows a single key."""
_PATIENCE_WITH_A_GAP = 2
"""Reads around a gap before it is taken for a tie and read with a larger limit."""


@attrs.define
class _Aim:
    """Where to read next for a gap that stays."""

    middle: int
    limit: int
    reads: int = 0


class Pass:
    """Reads from the front down to the key ``bottom`` (-inf: the end of the list)."""

    def __init__(self, traits: ListTraits, page_size: int, *, bottom: float, largest_limit: int) -> None:
        self.ranges = KeyRanges()
        self.end_reached = False
        """Whether some page reached the end that the server counted."""
        self.gaps_repaired = 0
        self.overlapping_rows = 0
        self.largest_tie = 1
        self._traits = traits
        self._page_size = page_size
        self._largest_limit = largest_limit
        self._bottom = bottom
        self._planned_to = 0
        self._count = 0
        self._number = 0
        self._windows: dict[PageRequest, int] = {}
        """In flight, with their number on the way down."""
        self._edges: dict[int, tuple[float, float]] = {}
        """First and last key of the windows read."""
        self._repairs: dict[PageRequest, Gap] = {}
        """In flight, with the gap each is for."""
        self._aims: dict[tuple[float, float], _Aim] = {}
        self._overlap = max(_LEAST_OVERLAP, page_size // 10)
        self._neighbours = self._disconnected = 0

    def begin(self, result: PageResult, keys: list[float]) -> None:
        """Start from a page 1 that was read already."""
        self._planned_to = result.request.end
        self.add(result, keys)

    def next_window(self) -> PageRequest | None:
        """Return the next page on the way down, each once."""
        if self._bottom != -inf and len(self._windows) >= _AHEAD_OF_A_BOTTOM:
            return None
        if self.all_planned():
            return None
        request = self._window()
        self.overlapping_rows += max(0, self._planned_to - request.offset)
        self._planned_to = max(request.end, self._planned_to + 1)
        self._number += 1
        self._windows[request] = self._number
        return request

    def _window(self) -> PageRequest:
        start = max(0, self._planned_to - self._overlap)
        rest = self._wanted_to() - start
        if self._bottom == -inf and rest <= self._page_size * 6 // 5:
            return tail_window(self._wanted_to() - 1, rest - 1, self._page_size)
        return window_from(start, self._planned_to, self._page_size)

    def _wanted_to(self) -> int:
        return self._count + (0 if self._traits.counted_first else RUN_TEST_OVERHANG)

    def next_repair(self, top: float) -> PageRequest | None:
        """Return a page around a gap among the keys up to ``top``, once all windows are read."""
        if self._windows or not self.all_planned():
            return None
        waiting = set(self._repairs.values())
        return next((self._repair(gap) for gap in self.gaps(top) if gap not in waiting), None)

    def gaps(self, top: float) -> list[Gap]:
        """Return what is still missing of the keys up to ``top``."""
        return self.ranges.gaps(self._lowest_wanted(), top)

    def is_done(self, top: float) -> bool:
        """Whether every page is read and nothing is missing of the keys up to ``top``."""
        idle = not self._windows and not self._repairs
        return idle and self.all_planned() and not self.gaps(top)

    @property
    def ends_at_the_end(self) -> bool:
        """Whether it was the list that ended, and not the keys that were wanted."""
        lowest = self.ranges.lowest
        return lowest is None or lowest.low >= self._bottom

    def add_result(self, result: PageResult, keys: list[float]) -> None:
        """Take the answer to one of this pass's pages."""
        gap = self._repairs.pop(result.request, None)
        if gap is None:
            self._watch_neighbours(self._windows.pop(result.request), keys)
        self.add(result, keys)
        if gap is not None:
            self._aim_again(gap, result, keys)

    def add_failure(self, request: PageRequest) -> None:
        """Take into account that one of this pass's pages could not be read."""
        if self._repairs.pop(request, None) is None:
            self._windows.pop(request)

    def add(self, result: PageResult, keys: list[float]) -> None:
        """Add a scan, whoever asked for it."""
        request = result.request
        if result.count is not None:
            self._count = result.count
            self.end_reached |= request.end >= result.count
        self.largest_tie = max(self.largest_tie, largest_tie(keys))
        if self.largest_tie * 2 >= self._page_size:
            self._page_size = min(_FACTOR_FOR_TIES * self._page_size, self._largest_limit)
        self._overlap = max(self._overlap, min(self.largest_tie + 1, self._page_size * 3 // 5))
        high = inf if request.page == 1 else (keys[0] if keys else -inf)
        low = -inf if self._proves_end(result) else (keys[-1] if keys else inf)
        self.ranges.add(low, high, low_at=request.offset + len(result.keys), high_at=request.offset)

    def _lowest_wanted(self) -> float:
        """Where the list is counted first, its end is confirmed by a later read, and no gap until then."""
        lowest = self.ranges.lowest
        if self._traits.counted_first and self.end_reached and lowest is not None:
            return max(lowest.low, self._bottom)
        return self._bottom

    def _proves_end(self, result: PageResult) -> bool:
        """Whether nothing can be below this page: on lists counted last, places far past the count."""
        if self._traits.counted_first or result.count is None:
            return False
        return result.request.end >= result.count + RUN_TEST_OVERHANG

    def all_planned(self) -> bool:
        """Whether every window on the way down was asked for."""
        lowest = self.ranges.lowest
        if self._bottom != -inf and lowest is not None and lowest.low < self._bottom:
            return True
        return self._planned_to >= self._wanted_to()

    def _watch_neighbours(self, number: int, keys: list[float]) -> None:
        """Widen the overlap where more than an eighth of the windows do not connect."""
        self._edges[number] = (keys[0], keys[-1]) if keys else (-inf, inf)
        for upper in (number - 1, number):
            if upper in self._edges and upper + 1 in self._edges:
                self._neighbours += 1
                self._disconnected += not self._edges[upper + 1][0] > self._edges[upper][1]
        if self._neighbours >= 8 and self._disconnected * 8 > self._neighbours:
            self._overlap = min(2 * self._overlap, self._page_size * 3 // 5)
            self._neighbours = self._disconnected = 0

    def _repair(self, gap: Gap) -> PageRequest:
        aim = self._aims.setdefault(
            (gap.low, gap.high),
            _Aim((gap.low_at + gap.high_at) // 2, max(self._page_size, 2 * self.largest_tie)),
        )
        if gap.low == -inf:
            request = tail_window(
                self._count + RUN_TEST_OVERHANG, RUN_TEST_OVERHANG + self._overlap, aim.limit
            )
        else:
            request = window_around(aim.middle, aim.limit)
        while request in self._repairs:
            request = PageRequest(request.page, request.limit + 1)
        self._repairs[request] = gap
        return request

    def _aim_again(self, gap: Gap, result: PageResult, keys: list[float]) -> None:
        """Count a repaired gap, or read elsewhere, or with a larger limit, the next time."""
        aim = self._aims.pop((gap.low, gap.high), None)
        if aim is None or gap not in self.ranges.gaps(-inf, gap.high):
            self.gaps_repaired += 1
            return
        aim.reads += 1
        if keys and keys[-1] > gap.high:
            aim.middle = result.request.end + aim.limit // 4
        elif keys and keys[0] < gap.low:
            aim.middle = result.request.offset - aim.limit // 4
        elif aim.reads >= _PATIENCE_WITH_A_GAP or (keys and keys[0] == keys[-1]):
            aim.limit = min(_FACTOR_FOR_TIES * aim.limit, self._largest_limit)
        self._aims[(gap.low, gap.high)] = aim
