"""One pass over a list: overlapping windows from the front down, then repairs of the gaps between them."""

from collections.abc import Sequence
from math import inf, nextafter

from futureagi_async._sansio.covering.budget import PageBounds
from futureagi_async._sansio.covering.keyranges import Gap, KeyRanges, Span
from futureagi_async._sansio.covering.pages import (
    CoverSizes,
    ListTraits,
    PageRequest,
    PageResult,
    largest_tie,
)
from futureagi_async._sansio.covering.places import Holes
from futureagi_async._sansio.covering.repairs import Repairs
from futureagi_async._sansio.covering.windows import tail_window, window_from

_AHEAD = 2
"""Windows in flight beyond where the keys that are wanted should end."""
_MOST_SPARSE = 4
"""How much larger windows get where most places deliver nothing; the next one may be full again."""


class Pass:
    """Reads from the front down to the key ``bottom`` (-inf: the end of the list).

    ``resting`` says that nothing moves the list's rows from page to page: windows then overlap less.
    """

    def __init__(
        self,
        traits: ListTraits,
        holes: Holes,
        bounds: PageBounds,
        sizes: CoverSizes,
        *,
        page_size: int,
        unreadable: Sequence[int],
        resting: bool = False,
        bottom: float = -inf,
        expected_end: float = inf,
    ) -> None:
        self.ranges = KeyRanges()
        self.largest_tie = 1
        self._traits = traits
        self._sizes = sizes
        self._bounds = bounds
        self._page_size = page_size
        self._unreadable = unreadable
        self._bottom = bottom
        self._expected_end = expected_end
        """The place at which the bottom is expected."""
        self._planned_to = 0
        self._count = 0
        self._end_reached = False
        """Whether some page reached the end that the server counted."""
        self._number = 0
        self._windows: dict[PageRequest, int] = {}
        """In flight, with their number on the way down."""
        self._edges: dict[int, tuple[float, float]] = {}
        """First and last key of the windows read."""
        self._repairs = Repairs(self.ranges, holes, bounds, sizes)
        self._overlap = sizes.overlap if resting else max(sizes.overlap, page_size // 10)
        self._sparse = 1
        """By how much windows are larger, because most places deliver nothing."""
        self._neighbours = self._disconnected = 0

    @property
    def gaps_repaired(self) -> int:
        """How many gaps a further page closed."""
        return self._repairs.closed

    def begin(self, result: PageResult, keys: list[float]) -> None:
        """Start from a page that was read already."""
        self._planned_to = result.request.end
        self.add(result, keys)
        self._watch_density(result)

    def next_page(self, top: float) -> PageRequest | None:
        """Return a window, or once all are read a page across a gap among the keys up to ``top``."""
        if not self.all_planned():
            return self.next_window()
        if self._windows:
            return None
        return self._repairs.next_page(
            self._inner_gaps(top),
            margin=max(self._overlap, self.largest_tie + 1),
            page_size=max(self._page_size, 2 * self.largest_tie),
            end=self._count + (0 if self._traits.counted_first else self._sizes.overhang),
            unreadable=self._unreadable,
            tie=self.largest_tie,
        )

    def next_window(self) -> PageRequest | None:
        """Return the next page on the way down, each once."""
        beyond = self._bottom != -inf and self._planned_to >= self._expected_end
        if self.all_planned() or (beyond and len(self._windows) >= _AHEAD):
            return None
        request = self._window()
        self._planned_to = max(request.end, self._planned_to + 1)
        self._number += 1
        self._windows[request] = self._number
        return request

    def _window(self) -> PageRequest:
        size = int(min(self._page_size * self._sparse, max(self._page_size, self._bounds.utmost)))
        start = max(0, min(self._planned_to, self._count) - self._overlap * self._sparse)
        if self._bottom == -inf and self._count - start <= size * 6 // 5:  # places past the end cost nothing
            end = self._wanted_to() - 1
            return tail_window(end, end - start, size)
        return window_from(start, self._planned_to, size, self._sizes.spread)

    def _wanted_to(self) -> int:
        return self._count + (0 if self._traits.counted_first else self._sizes.overhang)

    def gaps(self, top: float) -> list[Gap]:
        """Return what is still missing of the keys up to ``top``."""
        return self.ranges.gaps(self._lowest_wanted(), top)

    def _inner_gaps(self, top: float) -> list[Gap]:
        """Return the gaps but for one at the very front, which is read last anyway."""
        return [gap for gap in self.gaps(top) if gap.high < inf]

    def is_done(self, top: float) -> bool:
        """Whether every page is read and nothing but the front is missing of the keys up to ``top``."""
        idle = not self._windows and self._repairs.idle
        return idle and self.all_planned() and not self._inner_gaps(top)

    @property
    def trouble(self) -> str | None:
        """Why it can't get any farther."""
        return self._repairs.trouble if not self._windows and self._repairs.idle else None

    @property
    def ends_at_the_end(self) -> bool:
        """Whether it was the list that ended, and not the keys that were wanted."""
        lowest = self.ranges.lowest
        return lowest is None or lowest.low >= self._bottom

    def add_result(self, result: PageResult, keys: list[float]) -> None:
        """Take the answer to one of this pass's pages."""
        number = self._windows.pop(result.request, None)
        if number is not None:
            self._watch_neighbours(number, keys)
            self._watch_density(result)
        self.add(result, keys)
        self._repairs.add_result(result, keys, self.gaps(inf) if number is None else ())

    def add_failure(self, request: PageRequest) -> None:
        """Take into account that one of this pass's pages could not be read."""
        if not self._repairs.add_failure(request):
            self._windows.pop(request, None)

    def add(self, result: PageResult, keys: list[float]) -> None:
        """Add a scan, whoever asked for it."""
        request, sizes = result.request, self._sizes
        if result.count is not None:
            self._count = result.count
            self._end_reached |= request.end >= result.count
        self.largest_tie = max(self.largest_tie, largest_tie(keys))
        if self.largest_tie * 2 >= self._page_size:
            self._page_size = min(sizes.factor_for_ties * self._page_size, sizes.largest_limit)
        self._overlap = max(self._overlap, min(self.largest_tie + 1, self._page_size * 3 // 5))
        high = inf if request.page == 1 else (keys[0] if keys else -inf)
        self.ranges.add(
            self._reached_by(result, keys),
            high,
            Span(request.offset, min(request.end, self._count), len(keys)),
        )

    def _lowest_wanted(self) -> float:
        """Where the list is counted first, its end is confirmed by a later read, and no gap until then."""
        lowest = self.ranges.lowest
        if self._traits.counted_first and self._end_reached and lowest is not None:
            return max(lowest.low, self._bottom)
        return self._bottom

    def _reached_by(self, result: PageResult, keys: list[float]) -> float:
        """Return the key that a page reaches down to: its last, or where it shows the end the lowest known.

        Where the list is counted first, rows may have fallen off the end that a page shows. Some may have the
        key of its last one; all are looked for by later reads of the end.
        """
        if self._proves_end(result):
            return -inf
        if not keys:
            return inf
        if not self._traits.counted_first or result.has_next or result.request.end < (result.count or inf):
            return keys[-1]
        lowest = self.ranges.lowest
        return min(nextafter(keys[-1], -inf), inf if lowest is None else lowest.low)

    def _proves_end(self, result: PageResult) -> bool:
        """Whether nothing can be below this page: on lists counted last, places far past the count."""
        if self._traits.counted_first or result.count is None or result.has_next:
            return False
        return result.request.end >= result.count + self._sizes.overhang

    def all_planned(self) -> bool:
        """Whether every window on the way down was asked for."""
        lowest = self.ranges.lowest
        if self._bottom != -inf and lowest is not None and lowest.low < self._bottom:
            return True
        return self._planned_to >= self._wanted_to()

    def _watch_density(self, result: PageResult) -> None:
        """Read more places at once where fewer than half of them deliver a row."""
        request, rows = result.request, len(result.keys)
        places = min(request.end, self._count) - request.offset
        if self._traits.counted_first or result.undecoded or places <= 0:
            return
        if 2 * rows < min(places, self._page_size):
            self._sparse = min(2 * self._sparse, _MOST_SPARSE)
        elif rows >= self._page_size:
            self._sparse = 1

    def _watch_neighbours(self, number: int, keys: list[float]) -> None:
        """Widen the overlap where more than an eighth of the windows do not connect."""
        if not keys:
            return
        self._edges[number] = keys[0], keys[-1]
        for upper in (number - 1, number):
            if upper in self._edges and upper + 1 in self._edges:
                self._neighbours += 1
                self._disconnected += not self._edges[upper + 1][0] > self._edges[upper][1]
        if self._neighbours >= 8 and self._disconnected * 8 > self._neighbours:
            self._overlap = min(2 * self._overlap, self._page_size * 3 // 5)
            self._neighbours = self._disconnected = 0
