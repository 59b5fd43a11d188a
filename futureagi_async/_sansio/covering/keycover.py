"""The key-interval cover: a pass of windows, the end read again, and the front swept last."""

from math import inf

from futureagi_async._sansio.covering.lists import (
    RUN_TEST_OVERHANG,
    Ask,
    ListTraits,
    Seen,
    ServerClock,
    trusted_keys,
)
from futureagi_async._sansio.covering.passes import Pass
from futureagi_async._sansio.covering.sweeping import Sweep
from futureagi_async._sansio.covering.tails import EndDoubt, TailRead


class KeyCover:
    """Reads a list whose rows show the keys it is sorted by; `cover` says why it is a proof."""

    def __init__(
        self,
        traits: ListTraits,
        clock: ServerClock,
        doubt: EndDoubt,
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
        self._doubt = doubt
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
        self._sweep = Sweep(page_size, largest_limit)
        self._restart: Ask | None = None

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

    def trusted(self, seen: Seen) -> list[float]:
        """Return the keys of a page that bound an interval."""
        return trusted_keys(seen, self._traits, self._clock, self._delta)

    def begin(self, first: Seen) -> None:
        """Start from page 1, the first window."""
        self._note_density(first)
        self._begin_pass(first, bottom=-inf, page_size=self._page_size)

    def begin_since(self, first: Seen, since: float) -> None:
        """Start from page 1 as if a pass had begun at ``since``, on the server's clock, and be done."""
        self._note_density(first)
        self._latest = first.received_at
        self._began = since
        self._take_sweep(first, self.trusted(first))

    def _note_density(self, first: Seen) -> None:
        keys = [key for key in first.keys if key is not None]
        if keys and keys[0] > keys[-1]:
            self._rows_a_second = len(keys) / (keys[0] - keys[-1])

    def next_ask(self, count: int, *, idle: bool) -> Ask | None:
        """Return the next page; the end and the front are read when nothing else is in flight."""
        if self._restart is not None:
            return self._restart if idle else None
        top = self._trusted_until()
        if self._passes and not self._pass.is_done(top):
            return self._pass.next_window() or self._pass.next_repair(top)
        return self._next_tail(count) or self._next_sweep() if idle else None

    def next_unread(self) -> Ask | None:
        """Return a window that was not read yet, and nothing else."""
        return self._pass.next_window() if self._passes else None

    def take(self, seen: Seen) -> None:
        """Take the answer to one of its pages."""
        keys = self.trusted(seen)
        self._latest = max(self._latest, seen.received_at)
        if seen.ask is self._restart:
            self._begin_front_pass(seen)
        elif self._sweep.asked(seen.ask):
            self._take_sweep(seen, keys)
        elif self._tail is not None and self._tail.asked(seen.ask):
            self._tail.take(seen, self._pass.ranges.lowest)
            self._pass.add(seen, keys)
        else:
            self._pass.take(seen, keys)

    def lose(self, ask: Ask) -> None:
        """Take into account that one of its pages could not be read."""
        if self._sweep.asked(ask):
            self._sweep.lose()
        elif ask is not self._restart and not (self._tail is not None and self._tail.asked(ask)):
            self._pass.lose(ask)

    def _trusted_until(self) -> float:
        """T - delta: rows with older keys have not moved since the pass began."""
        return self._began - self._delta

    def _next_tail(self, count: int) -> Ask | None:
        if self._tail is None or not self._pass.ends_at_the_end:
            return None
        needed = self._doubt.reads_needed()
        if needed is None:
            self.trouble = "Rows enter the list faster than its end can be confirmed."
            return None
        if self._tail.agreeing >= needed:
            return None
        return self._tail.next_ask(count, self._pass.largest_tie)

    def _next_sweep(self) -> Ask | None:
        if self.trouble is not None:
            return None
        self.sweeps += 1
        seconds = max(0.0, self._clock.at(self._latest) - self._began) + self._delta
        return self._sweep.next_ask(self._rows_a_second * seconds)

    def _take_sweep(self, seen: Seen, keys: list[float]) -> None:
        until = self._trusted_until()
        past_end = seen.ask.end >= (seen.count or 0) + RUN_TEST_OVERHANG
        whole = past_end and not self._traits.counted_first
        if whole or (keys and keys[-1] < until):
            self.covered_at = seen.sent_at
            return
        self._sweep.take(seen, keys, until)
        if not self._passes and seen.ask.end >= (seen.count or 0):  # the whole list is younger than T
            self._begin_front_pass(seen)
        elif self._sweep.exhausted and keys and keys[0] <= self._began:
            self._wait_for(seen, keys[0])
        elif self._sweep.exhausted:
            self._begin_front_pass(seen)

    def _wait_for(self, seen: Seen, newest: float) -> None:
        """Read the front again when its keys are old enough to be believed: nothing changes now."""
        seconds = newest + self._delta - self._clock.at(seen.received_at)
        self._restart = Ask(1, seen.ask.limit, not_before=seen.received_at + max(0.0, seconds) + 0.001)

    def _begin_front_pass(self, seen: Seen) -> None:
        """Start a pass over the front alone, which was too long for one page."""
        bottom = self._trusted_until()
        self._sweep, self._restart = Sweep(self._page_size, self._largest_limit), None
        self._begin_pass(seen, bottom=bottom, page_size=seen.ask.limit)

    def _begin_pass(self, first: Seen, *, bottom: float, page_size: int) -> None:
        self._began = self._clock.at(first.sent_at)
        self._tail = TailRead(self._page_size) if self._traits.counted_first else None
        self._passes.append(Pass(self._traits, page_size, bottom=bottom, largest_limit=self._largest_limit))
        self._pass.begin(first, self.trusted(first))
