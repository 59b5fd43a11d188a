"""Reads across the gaps that a pass left, farther around each time that brings nothing.

A page is bounded by the rows it is expected to show, not by its places: where calls were deleted it may
span thousands of places until it holds rows on both sides, which then join like any others.
"""

from collections.abc import Iterable, Sequence

import attrs

from futureagi_async._sansio.covering.budget import PageBounds
from futureagi_async._sansio.covering.keyranges import Gap, KeyRanges
from futureagi_async._sansio.covering.pages import CoverSizes, PageRequest, PageResult, holds_any
from futureagi_async._sansio.covering.places import Holes
from futureagi_async._sansio.covering.windows import page_across

_LEAST_MARGIN = 2
"""Rows a page must share with what is known in order to join it, where no two have the same key."""


@attrs.define(frozen=True)
class _Stretch:
    """Places to read."""

    start: int
    end: int

    def __or__(self, other: "_Stretch") -> "_Stretch":
        return _Stretch(min(self.start, other.start), max(self.end, other.end))

    def widened(self, up: int, down: int) -> "_Stretch":
        return _Stretch(max(0, self.start - up), self.end + down)

    def padded(self, places: int) -> "_Stretch":
        missing = max(0, places - (self.end - self.start))
        return self.widened(missing // 2, missing - missing // 2)

    def page(self) -> PageRequest:
        return page_across(self.start, self.end)


class Repairs:
    """Chooses pages across gaps until they are closed, or until it is certain that none closes them."""

    def __init__(self, ranges: KeyRanges, holes: Holes, bounds: PageBounds, sizes: CoverSizes) -> None:
        self.closed = 0
        """Gaps that a page closed."""
        self.trouble: str | None = None
        """Why some gap can't be closed."""
        self._ranges = ranges
        self._holes = holes
        self._bounds = bounds
        self._sizes = sizes
        self._aims: dict[tuple[float, float], _Stretch] = {}
        """Where to read next, for gaps that a page left open."""
        self._in_vain: set[tuple[tuple[float, float], PageRequest]] = set()
        """Pages that left a gap as it was."""
        self._ties: set[tuple[float, float]] = set()
        """Gaps at which a page showed a single key."""
        self._hopeless: set[tuple[float, float]] = set()
        self._in_flight: dict[PageRequest, list[Gap]] = {}

    @property
    def idle(self) -> bool:
        """Whether no page is awaited."""
        return not self._in_flight

    def next_page(
        self,
        gaps: Iterable[Gap],
        *,
        margin: int,
        page_size: int,
        end: int,
        unreadable: Sequence[int],
        tie: int,
    ) -> PageRequest | None:
        """Return a page across the first gap that none is under way for, and the next ones if they fit.

        It shares ``margin`` rows with what is known on both sides. ``end`` is the place that proves the end
        of the list. What lies on both sides of an ``unreadable`` place, or of one where it may stand among
        ``tie`` equal keys, never joins; such a gap counts as closed.
        """
        busy = {gap.keys for waiting in self._in_flight.values() for gap in waiting}
        chosen: list[Gap] = []
        stretch = request = None
        for gap in gaps:
            if gap.keys in busy or gap.keys in self._hopeless:
                continue
            aim = self._aim(gap, margin, end)
            if stretch is None:
                request = self._page(aim, page_size, unreadable, tie) or self._page(
                    _around(gap, _LEAST_MARGIN, end), 0, unreadable, tie
                )
                if request is None or (gap.keys, request) in self._in_vain:
                    request = None
                    self._leave_open(gap, aim, unreadable, tie)
                else:
                    stretch, chosen = aim, [gap]
            else:
                wider = self._page(stretch | aim, 0, unreadable, tie)
                if wider is None or self._rows(wider) > page_size:
                    break
                stretch, request = stretch | aim, wider
                chosen.append(gap)
        if request is None:
            return None
        while request in self._in_flight:
            request = PageRequest(request.page, request.limit + 1)
        self._in_flight[request] = chosen
        return request

    def add_result(self, result: PageResult, keys: Sequence[float], gaps: Sequence[Gap]) -> bool:
        """Take an answer, and the ``gaps`` that are left after it; whether it was to one of these pages."""
        repaired = self._in_flight.pop(result.request, None)
        for gap in repaired or ():
            left = [each for each in gaps if each.low >= gap.low and each.high <= gap.high]
            if not left:
                self._aims.pop(gap.keys, None)
                self.closed += 1
            elif left[0].keys == gap.keys:
                self._in_vain.add((gap.keys, result.request))
                self._aims[gap.keys] = self._aim_again(gap, result, keys)
        return repaired is not None

    def add_failure(self, request: PageRequest) -> bool:
        """Take into account that a page failed; whether it was one of these."""
        if self._in_flight.pop(request, None) is None:
            return False
        self._bounds.note_failure(max(self._bounds.usual, self._rows(request) / 2))
        return True

    def _rows(self, request: PageRequest) -> float:
        return self._holes.rows(request.offset, request.end)

    def _aim(self, gap: Gap, margin: int, end: int) -> _Stretch:
        aim = self._aims.get(gap.keys) or _around(gap, margin, end)
        return aim if gap.below is not None else aim | _Stretch(end - 1, end)

    def _page(
        self, stretch: _Stretch, places: int, unreadable: Sequence[int], tie: int
    ) -> PageRequest | None:
        """Return a page of so many places, at least, that can be read and holds the stretch."""
        for each in (stretch.padded(places), stretch):
            request = each.page()
            if not holds_any(request, unreadable, tie) and self._rows(request) <= self._bounds.utmost:
                return request
        return None

    def _aim_again(self, gap: Gap, result: PageResult, keys: Sequence[float]) -> _Stretch:
        """Read elsewhere, or farther around, after a page that left the gap as it was."""
        request = result.request
        one_key = not keys or keys[0] == keys[-1]
        if keys and one_key:
            self._ties.add(gap.keys)
        step = request.limit * (self._sizes.factor_for_ties - 1 if one_key else 1)
        up, down = (
            not keys or keys[0] <= gap.high,
            gap.below is not None and (not keys or keys[-1] >= gap.low),
        )
        start, end, shared = request.offset, request.end, request.limit // 4
        if keys and keys[-1] > gap.high:
            start, down = end - shared, True
        elif keys and keys[0] < gap.low:
            end, up = start + shared, True
        while True:
            stretch = _Stretch(start, end).widened(step if up else 0, step if down else 0)
            if step <= shared or self._rows(stretch.page()) <= self._bounds.utmost:
                return stretch
            step //= 2

    def _leave_open(self, gap: Gap, aim: _Stretch, unreadable: Sequence[int], tie: int) -> None:
        """Take a gap for closed that a row lies in which can't be read; else say why it stays."""
        if holds_any(_around(gap, _LEAST_MARGIN, aim.end).page(), unreadable, tie):
            self._ranges.bridge(gap)
            return
        self._hopeless.add(gap.keys)
        request, most = aim.page(), self._bounds.utmost
        rows = self._rows(request)
        if gap.low == gap.high or gap.keys in self._ties:
            why = f"More calls have the same time of last change than fit on one page ({most:,.0f})."
        elif 2 * rows < self._holes.places(request):
            why = (
                f"Deleted calls leave positions without a row. Only a page of about {rows:,.0f} calls could "
                f"span them, and a page may have {most:,.0f}."
            )
        else:
            why = f"Neighbouring pages of up to {most:,.0f} calls did not overlap."
        self.trouble = self.trouble or why


def _around(gap: Gap, margin: int, end: int) -> _Stretch:
    """Return the places between the pages on both sides, with ``margin`` rows of each."""
    start = 0 if gap.above is None else max(0, gap.above.before_last(margin))
    end = end if gap.below is None else gap.below.behind_first(margin)
    middle = (start + end) // 2
    return _Stretch(max(0, min(start, middle - margin)), max(end, middle + margin))
