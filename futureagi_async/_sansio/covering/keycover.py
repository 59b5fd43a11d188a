"""Covers a list by its sort keys: one pass, then the end again, then the front last."""

from collections.abc import Sequence
from math import inf

from futureagi_async._sansio.covering.budget import PageBounds
from futureagi_async._sansio.covering.fronts import FrontRead
from futureagi_async._sansio.covering.pages import (
    CoverSizes,
    ListTraits,
    PageRequest,
    PageResult,
    ServerClock,
    holds_all,
    holds_any,
    trusted_keys,
)
from futureagi_async._sansio.covering.passes import Pass
from futureagi_async._sansio.covering.places import Holes
from futureagi_async._sansio.covering.tails import EndConfidence, TailRead

UNREADABLE_FRONT = "A row at the front could not be read."
_RESTING_SECONDS = 60.0
"""A list whose newest row is older than this counts as unchanged: it will hardly change during the read."""


class KeyCover:
    """Reads a list whose rows have their sort keys; `cover` explains the proof."""

    def __init__(
        self,
        traits: ListTraits,
        clock: ServerClock,
        end_confidence: EndConfidence,
        holes: Holes,
        bounds: PageBounds,
        sizes: CoverSizes,
        *,
        page_size: int,
        delta: float,
    ) -> None:
        self.covered_at: float | None = None
        """Session time when the front page that completed the cover was sent: tau."""
        self.trouble: str | None = None
        """Why the cover can't be completed."""
        self.sweeps = 0
        """Number of times that the front was read again."""
        self.unreadable: list[int] = []
        """Positions of rows that the server can't deliver; pages should not contain them."""
        self._traits = traits
        self._clock = clock
        self._end_confidence = end_confidence
        self._holes = holes
        self._bounds = bounds
        self._sizes = sizes
        self._page_size = page_size
        self._delta = delta
        self._latest = -inf
        """Session time of the latest response."""
        self._newest = -inf
        """The greatest key seen."""
        self._began = inf
        """T: the lower bound of the server's clock when the pass began."""
        self._passes: list[Pass] = []
        self._tail: TailRead | None = None
        self._front = FrontRead(holes, bounds, sizes)
        self._restart: PageRequest | None = None
        """The page 1 with which the next pass begins."""

    @property
    def gaps_repaired(self) -> int:
        """Number of gaps that a further page closed."""
        return sum(each.gaps_repaired for each in self._passes)

    @property
    def largest_tie(self) -> int:
        """The largest number of rows with equal keys so far."""
        return max((each.largest_tie for each in self._passes), default=1)

    @property
    def all_planned(self) -> bool:
        """Whether every window of the pass was requested."""
        return not self._passes or self._pass.all_planned()

    @property
    def _pass(self) -> Pass:
        return self._passes[-1]

    def trusted(self, result: PageResult) -> list[float]:
        """Return the keys of a page that bound an interval."""
        return trusted_keys(result, self._traits, self._clock, self._delta)

    def begin(self, first: PageResult) -> None:
        """Start from the first window, usually page 1."""
        self._note(first)
        self._begin_pass(first)

    def begin_since(self, first: PageResult, since: float) -> None:
        """Start from page 1 as if a complete pass had begun at ``since``, on the server's clock."""
        self._note(first)
        self._began = since
        self._take_front(first, self.trusted(first))

    def next_page(self, count: int, *, idle: bool) -> PageRequest | None:
        """Return the next page. The end and the front are read when nothing else is in flight."""
        if self._restart is not None and self.unreadable:
            self.trouble = UNREADABLE_FRONT
            return None
        if self._restart is not None:
            return self._restart if idle else None
        top = self._trusted_until()
        if self._passes and not self._pass.is_done(top):
            request = self._pass.next_page(top)
            if request is not None or not idle:
                return request
            self.trouble = self._pass.trouble
        if not idle or self.trouble is not None:
            return None
        return self._next_tail(count) or self._next_front(count)

    def next_unread(self) -> PageRequest | None:
        """Return a window that was not read yet, and nothing else."""
        return self._pass.next_window() if self._passes else None

    def add_result(self, result: PageResult) -> None:
        """Process the response to one of its pages, or to another page of the list."""
        self._note(result)
        keys = self.trusted(result)
        if result.request.page == 1 and (result.count == 0 or holds_all(result, self._traits, self._sizes)):
            self.covered_at = result.sent_at
        elif result.request is self._restart:
            self._begin_front_pass(result)
        elif self._front.requested(result.request):
            self._take_front(result, keys)
        elif self._tail is not None and self._tail.requested(result.request):
            self._tail.add_result(result, self._pass.ranges.lowest)
            self._pass.add(result, keys)
        elif self._passes:
            self._pass.add_result(result, keys)

    def add_failure(self, request: PageRequest) -> None:
        """Process a failed page."""
        if self._front.requested(request):
            self._front.add_failure(request)
        elif self._passes:
            self._pass.add_failure(request)

    def _note(self, result: PageResult) -> None:
        self._latest = max(self._latest, result.received_at)
        self._newest = max(self._newest, *(key for key in result.keys if key is not None), -inf)
        if result.request.page == 1:
            moment = self._clock.at(result.sent_at)
            self._front.note(result, moment, min(self._began, moment) - self._delta)

    def _trusted_until(self) -> float:
        """T - delta: rows with older keys have not moved since the pass began."""
        return self._began - self._delta

    def _next_tail(self, count: int) -> PageRequest | None:
        if self._tail is None or not self._pass.ends_at_the_end:
            return None
        needed = self._end_confidence.reads_needed()
        if needed is None:
            self.trouble = "Rows enter the list faster than its end can be confirmed."
            return None
        if self._tail.agreeing >= needed:
            return None
        request = self._tail.next_page(count, self._pass.largest_tie)
        return None if holds_any(request, self.unreadable, self.largest_tie) else request

    def _next_front(self, count: int) -> PageRequest | None:
        """Return the last page 1, or, if it can't reach so far, the first page of the next pass."""
        if self.trouble is not None:
            return None
        seconds = max(0.0, self._clock.at(self._latest) - self._began) + self._delta
        most = min(self.unreadable, default=inf) - self.largest_tie + 1
        request = self._front.next_page(seconds, self._front_gap_end(), count, most)
        if request is None and self.unreadable:
            self.trouble = UNREADABLE_FRONT
            return None
        if request is None and self._front.missed is not None and self._newest > self._began:
            self._begin_front_pass(self._front.missed)
            return self.next_page(count, idle=True)
        if request is None:
            request = self._restart = self._next_beginning()
        self.sweeps += 1
        return request

    def _next_beginning(self) -> PageRequest:
        """Return the page 1 of a pass. If nothing changed since T, all its keys are trusted."""
        if self._newest > self._began:
            return PageRequest(1, self._page_size)
        seconds = self._newest + self._delta - self._clock.at(self._latest)
        return PageRequest(1, self._page_size, not_before=self._latest + max(0.0, seconds) + 0.001)

    def _front_gap_end(self) -> int:
        """Return the position that page 1 must reach, past deleted calls at the front."""
        gaps = self._pass.gaps(self._trusted_until()) if self._passes else []
        below = gaps[0].below if gaps else None
        return below.behind_first(self._sizes.overlap + self._pass.largest_tie) if below is not None else 0

    def _take_front(self, result: PageResult, keys: Sequence[float]) -> None:
        """Process page 1. The cover is complete if it reaches keys that the pass covers."""
        until = self._trusted_until()
        gaps = self._pass.gaps(until) if self._passes else []
        if keys and keys[-1] < until and all(keys[-1] < gap.low for gap in gaps):
            self.covered_at = result.sent_at
            return
        self._front.add_miss(result, keys)
        if not self._passes and result.request.end >= (result.count or 0):  # the whole list is younger than T
            self._begin_front_pass(result)

    def _begin_front_pass(self, first: PageResult) -> None:
        """Start a pass over the front only, which was too long for one page."""
        self._restart = None
        self._begin_pass(first, bottom=self._trusted_until())

    def _begin_pass(self, first: PageResult, *, bottom: float = -inf) -> None:
        self._began, before = self._clock.at(first.sent_at), self._began
        rows = self._front.rows_since(self._began - before + self._delta) if bottom > -inf else inf
        self._front.begin()
        self._tail = TailRead(self._page_size, self._sizes) if self._traits.counted_first else None
        self._passes.append(
            Pass(
                self._traits,
                self._holes,
                self._bounds,
                self._sizes,
                page_size=self._page_size,
                unreadable=self.unreadable,
                resting=self._newest < self._began - _RESTING_SECONDS,
                bottom=bottom,
                expected_end=self._holes.limit_for(rows) if rows < inf else inf,
            )
        )
        self._pass.begin(first, self.trusted(first))
