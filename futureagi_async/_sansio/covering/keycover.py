"""Covers a list by its keys: one pass, then the end read again, then the front read last."""

from math import ceil, inf

from futureagi_async._sansio.covering.pages import (
    RUN_TEST_OVERHANG,
    EndConfidence,
    ListTraits,
    PageRequest,
    PageResult,
    ServerClock,
    tail_window,
    trusted_keys,
)
from futureagi_async._sansio.covering.passes import KeyRange, Pass

LEAST_ROWS = 10
"""How far before the end the read begins, at least: as many entries may fall between two statements."""


class TailRead:
    """Reads the end again, until enough reads show nothing new."""

    def __init__(self, page_size: int) -> None:
        self.agreeing = 1
        """Reads of the end so far that agree on its lowest row."""
        self._page_size = page_size
        self._asked: PageRequest | None = None

    def next_page(self, count: int, largest_tie: int) -> PageRequest:
        """Return a page that begins well before the end and reaches past it."""
        self._asked = tail_window(count, max(LEAST_ROWS, largest_tie + 1), self._page_size)
        return self._asked

    def asked(self, request: PageRequest) -> bool:
        """Whether ``request`` was this one's."""
        return request is self._asked

    def add_result(self, result: PageResult, lowest: KeyRange | None) -> None:
        """Compare the end with the lowest key known so far."""
        keys = [key for key in result.keys if key is not None]
        at_end = result.count is not None and result.request.end >= result.count and not result.has_next
        enough = result.count is not None and (
            result.request.page == 1 or result.count - result.request.offset >= min(LEAST_ROWS, result.count)
        )
        emptied = result.count == 0
        joins = bool(keys) and lowest is not None and keys[-1] >= lowest.low and keys[0] > lowest.low
        if at_end and enough and (emptied or joins):
            self.agreeing += 1
        elif at_end:
            self.agreeing = 1


_LEAST_GROWTH = 1.3
_MOST_GROWTH = 4.0


class FrontRead:
    """Chooses how much of the front to read."""

    def __init__(self, page_size: int, largest_limit: int) -> None:
        self.exhausted = False
        """Whether the largest page did not reach far enough."""
        self._limit = page_size
        self._largest_limit = largest_limit
        self._asked: PageRequest | None = None

    def next_page(self, expected_rows: float) -> PageRequest:
        """Return page 1 with the limit that should reach; the first guess is ``expected_rows``."""
        if self._asked is None:
            self._limit = min(self._largest_limit, max(self._limit, ceil(_LEAST_GROWTH * expected_rows)))
        self._asked = PageRequest(1, self._limit)
        return self._asked

    def asked(self, request: PageRequest) -> bool:
        """Whether ``request`` was this one's."""
        return request is self._asked

    def add_result(self, result: PageResult, keys: list[float], until: float) -> None:
        """Choose a larger limit, from how densely keys lie at the front."""
        self.exhausted = result.request.limit >= self._largest_limit
        growth = _MOST_GROWTH
        if len(keys) > 1 and keys[0] > keys[-1]:
            growth = _LEAST_GROWTH * (keys[0] - until) / (keys[0] - keys[-1])
        growth = min(_MOST_GROWTH, max(_LEAST_GROWTH, growth))
        self._limit = min(self._largest_limit, ceil(self._limit * growth))

    def add_failure(self) -> None:
        """Read a smaller page after one that failed."""
        self._limit = max(1, self._limit // 2)
        self._largest_limit = max(self._limit, self._largest_limit // 2)


class KeyCover:
    """Reads a list whose rows show the keys it is sorted by; `cover` says why it is a proof."""

    def __init__(
        self,
        traits: ListTraits,
        clock: ServerClock,
        end_confidence: EndConfidence,
        *,
        page_size: int,
        largest_limit: int,
        delta: float,
    ) -> None:
        self.covered_at: float | None = None
        """When the front page that completed the cover was sent, on our clock: tau."""
        self.trouble: str | None = None
        """Why it can't be completed."""
        self.sweeps = 0
        self._traits = traits
        self._clock = clock
        self._end_confidence = end_confidence
        self._page_size = page_size
        self._largest_limit = largest_limit
        self._delta = delta
        self._rows_a_second = 0.0
        """How densely keys lie at the front."""
        self._latest = -inf
        self._began = inf
        """T: what the server's clock showed, at least, when the pass began."""
        self._passes: list[Pass] = []
        self._tail: TailRead | None = None
        self._sweep = FrontRead(page_size, largest_limit)
        self._restart: PageRequest | None = None

    @property
    def gaps_repaired(self) -> int:
        """How many gaps between pages a further page closed."""
        return sum(each.gaps_repaired for each in self._passes)

    @property
    def overlapping_rows(self) -> int:
        """How many rows were asked for twice on purpose."""
        return sum(each.overlapping_rows for each in self._passes)

    @property
    def all_asked(self) -> bool:
        """Whether every window on the way down was asked for."""
        return not self._passes or self._pass.all_planned()

    @property
    def _pass(self) -> Pass:
        return self._passes[-1]

    def trusted(self, result: PageResult) -> list[float]:
        """Return the keys of a page that bound an interval."""
        return trusted_keys(result, self._traits, self._clock, self._delta)

    def begin(self, first: PageResult) -> None:
        """Start from page 1, the first window."""
        self._note_density(first)
        self._begin_pass(first, bottom=-inf, page_size=self._page_size)

    def begin_since(self, first: PageResult, since: float) -> None:
        """Start from page 1 as if a pass had begun at ``since``, on the server's clock, and be done."""
        self._note_density(first)
        self._latest = first.received_at
        self._began = since
        self._take_sweep(first, self.trusted(first))

    def _note_density(self, first: PageResult) -> None:
        keys = [key for key in first.keys if key is not None]
        if keys and keys[0] > keys[-1]:
            self._rows_a_second = len(keys) / (keys[0] - keys[-1])

    def next_page(self, count: int, *, idle: bool) -> PageRequest | None:
        """Return the next page; the end and the front are read when nothing else is in flight."""
        if self._restart is not None:
            return self._restart if idle else None
        top = self._trusted_until()
        if self._passes and not self._pass.is_done(top):
            return self._pass.next_window() or self._pass.next_repair(top)
        return self._next_tail(count) or self._next_sweep() if idle else None

    def next_unread(self) -> PageRequest | None:
        """Return a window that was not read yet, and nothing else."""
        return self._pass.next_window() if self._passes else None

    def add_result(self, result: PageResult) -> None:
        """Take the answer to one of its pages."""
        keys = self.trusted(result)
        self._latest = max(self._latest, result.received_at)
        if result.request is self._restart:
            self._begin_front_pass(result)
        elif self._sweep.asked(result.request):
            self._take_sweep(result, keys)
        elif self._tail is not None and self._tail.asked(result.request):
            self._tail.add_result(result, self._pass.ranges.lowest)
            self._pass.add(result, keys)
        else:
            self._pass.add_result(result, keys)

    def add_failure(self, request: PageRequest) -> None:
        """Take into account that one of its pages could not be read."""
        if self._sweep.asked(request):
            self._sweep.add_failure()
        elif request is not self._restart and not (self._tail is not None and self._tail.asked(request)):
            self._pass.add_failure(request)

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
        return self._tail.next_page(count, self._pass.largest_tie)

    def _next_sweep(self) -> PageRequest | None:
        if self.trouble is not None:
            return None
        self.sweeps += 1
        seconds = max(0.0, self._clock.at(self._latest) - self._began) + self._delta
        return self._sweep.next_page(self._rows_a_second * seconds)

    def _take_sweep(self, result: PageResult, keys: list[float]) -> None:
        until = self._trusted_until()
        past_end = result.request.end >= (result.count or 0) + RUN_TEST_OVERHANG
        whole = past_end and not self._traits.counted_first
        if whole or (keys and keys[-1] < until):
            self.covered_at = result.sent_at
            return
        self._sweep.add_result(result, keys, until)
        if not self._passes and result.request.end >= (result.count or 0):  # the whole list is younger than T
            self._begin_front_pass(result)
        elif self._sweep.exhausted and keys and keys[0] <= self._began:
            self._wait_for(result, keys[0])
        elif self._sweep.exhausted:
            self._begin_front_pass(result)

    def _wait_for(self, result: PageResult, newest: float) -> None:
        """Read the front again when its keys are old enough to be believed: nothing changes now."""
        seconds = newest + self._delta - self._clock.at(result.received_at)
        self._restart = PageRequest(
            1, result.request.limit, not_before=result.received_at + max(0.0, seconds) + 0.001
        )

    def _begin_front_pass(self, result: PageResult) -> None:
        """Start a pass over the front alone, which was too long for one page."""
        bottom = self._trusted_until()
        self._sweep, self._restart = FrontRead(self._page_size, self._largest_limit), None
        self._begin_pass(result, bottom=bottom, page_size=result.request.limit)

    def _begin_pass(self, first: PageResult, *, bottom: float, page_size: int) -> None:
        self._began = self._clock.at(first.sent_at)
        self._tail = TailRead(self._page_size) if self._traits.counted_first else None
        self._passes.append(Pass(self._traits, page_size, bottom=bottom, largest_limit=self._largest_limit))
        self._pass.begin(first, self.trusted(first))
