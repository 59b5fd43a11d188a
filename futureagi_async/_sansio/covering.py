"""Decides which page of a list to read next, until the list is provably covered.

The lists are sorted by last change, newest first, without a tie-break, and change while they are read.

**Assumptions.** Rows are sorted by the key they show; a change committed at t carries a key later
than t - ``DELTA_SECONDS`` (which must exceed the longest transaction, clock skew and the gap between
the server's statements); ids are stable.

**Guarantee.** A finding ``complete`` with ``complete_as_of`` = tau says: every row that was visible
during the whole last read of page 1, which began at tau, has been read. For version lists, and lists
with a status or filters, rows may enter with an old key; there it is every row that was in the list
from the start of the read until tau. The end of lists that are counted first carries a residual that is
quadratic in entries a second times the server's gap between two statements.

**The way.** Page 1 gives the count and what a row costs. A list that fits is read as one *atomic page*
(`Cover._try_atomic`). A longer one is read in a *pass* of overlapping windows (`passes`), its end
confirmed by a later *tail* read where the list is counted first, and then the *front* is swept: page 1
again, far enough that its last trusted key is older than the pass (T - delta). If even the largest front
page does not reach that far, the front gets a pass of its own, whose beginning is the next T.

**Termination.** Requests are bounded by ``6 * ceil(count / page_size) + 30`` and the sweep converges
iff (distinct changes a second) * (latency + delta) is less than the largest front page; otherwise the
budget ends it, and the finding is ``incomplete``.
"""

from math import ceil, inf, isfinite

from futureagi_async._sansio.atomic import AtomicRead
from futureagi_async._sansio.lists import (
    RUN_TEST_OVERHANG,
    Ask,
    Finding,
    ListTraits,
    Seen,
    ServerClock,
    is_sorted,
    trusted_keys,
)
from futureagi_async._sansio.passes import Pass
from futureagi_async._sansio.sweeping import Sweep
from futureagi_async._sansio.tails import EndDoubt, TailRead
from futureagi_async._sansio.windows import SMALLEST_LIMIT

DELTA_SECONDS = 5.0
LARGEST_LIMIT = 1_000
LOST_PAGES_ALLOWED = 3
"""More make a list incomplete; what was not read yet is still read."""
LOST_PAGES_IN_ALL = 20
"""More end the reading of a list."""


class Cover:
    """The reading of one list: ask, feed the answers back, until there is a finding.

    Call `next_ask` whenever a request may be sent. ``None`` means "not now": wait for an answer to
    `take` or a page to `lose`, or stop where `finding` is set.
    """

    def __init__(
        self, traits: ListTraits, *, page_size: int, max_body_bytes: int, delta: float = DELTA_SECONDS
    ) -> None:
        self.count: int | None = None
        self.finding: Finding | None = None
        self.requests = 0
        self.sweeps = 0
        self.gaps_repaired = 0
        self.overlapping_rows = 0
        self._traits = traits
        self._page_size = max(page_size, SMALLEST_LIMIT)
        self._first = Ask(1, page_size)
        self._largest_limit = max(LARGEST_LIMIT, page_size)
        self._max_body_bytes = max_body_bytes
        self._delta = delta
        self._clock = ServerClock()
        self._in_flight = 0
        self._lost = 0
        self._undecoded = 0
        self._trouble: str | None = None
        self._atomic: AtomicRead | None = None
        self._pass: Pass | None = None
        self._tail: TailRead | None = None
        self._doubt = EndDoubt()
        self._sweep: Sweep | None = None
        self._restart: Ask | None = None
        self._begun_at = inf
        """When the pass began, on our clock: T is the server's clock at this moment."""

    # -- asking ---------------------------------------------------------------------------------

    def next_ask(self) -> Ask | None:
        """Return a page to read now."""
        if self.finding is not None:
            return None
        if self.requests >= self._budget():
            self._give_up(f"The list changes faster than it can be read within {self._budget()} requests.")
            return None
        ask = self._choose() if self._trouble is None else self._choose_rest()
        if ask is not None:
            self.requests += 1
            self._in_flight += 1
        return ask

    def _choose(self) -> Ask | None:
        if self.count is None:
            return self._first if not self._in_flight else None
        if self._atomic is not None:
            return self._atomic.next_ask() if not self._in_flight else None
        if self._restart is not None:
            return self._restart if not self._in_flight else None
        assert self._pass is not None
        top = self._trusted_until()
        if not self._pass.is_done(top):
            return self._pass.next_window() or self._pass.next_repair(top)
        if self._in_flight:
            return None
        if self._tail is not None and self._pass.ends_at_the_end:
            needed = self._doubt.reads_needed()
            if needed is None:
                self._give_up("Rows enter the list faster than its end can be confirmed.")
                return None
            if self._tail.agreeing < needed:
                return self._tail.next_ask(self.count, self._pass.largest_tie)
        self._sweep = self._sweep or Sweep(self._page_size, self._largest_limit)
        self.sweeps += 1
        return self._sweep.next_ask()

    def _choose_rest(self) -> Ask | None:
        """Return what was not read at all: a list that can't be proven complete is still delivered."""
        return self._pass.next_window() if self._pass is not None and self._atomic is None else None

    def _trusted_until(self) -> float:
        """T - delta: rows with older keys have not moved since the pass began."""
        return self._clock.at(self._begun_at) - self._delta

    def _budget(self) -> int:
        return 6 * ceil((self.count or 0) / self._page_size) + 30

    # -- answers --------------------------------------------------------------------------------

    def take(self, seen: Seen, *, crowded: bool = False) -> None:
        """Take an answer into account.

        ``crowded`` says that enough other lists wait to fill every slot, so that one slow page costs
        nothing.
        """
        self._in_flight -= 1
        self._undecoded += seen.undecoded
        self._clock.note(seen.server_time, seen.received_at)
        self._doubt.note(seen)
        first = self.count is None
        self.count = seen.count if seen.count is not None else min(self.count or 0, seen.ask.offset)
        keys = trusted_keys(seen, self._traits, self._clock, self._delta)
        if first:
            self._take_first(seen, keys, crowded=crowded)
        elif self._atomic is not None:
            self._take_atomic(seen)
        else:
            self._check_coverable(seen, keys)
            self._take_cover(seen, keys)
        self._settle()

    def lose(self, ask: Ask) -> bool:
        """Take into account that a page could not be read; whether there is another way."""
        self._in_flight -= 1
        if self.count is None:
            self._give_up("The first page could not be read.")
        elif self._atomic is not None:
            self._leave_atomic()
        else:
            self._make_up_for(ask)
        self._settle()
        return ask.optional

    def stop(self, reason: str) -> None:
        """End the reading from outside, for instance at a deadline."""
        self.finding = self.finding or Finding("incomplete", reason)

    def _take_first(self, seen: Seen, keys: list[float], *, crowded: bool) -> None:
        self._begun_at = seen.sent_at
        self._begin_pass(seen, keys, bottom=-inf, page_size=self._page_size)
        self._tail = TailRead(self._page_size) if self._traits.counted_first else None
        atomic = AtomicRead(self._traits, seen, self._doubt, largest_limit=self._largest_limit)
        if atomic.proven_by_first:
            self._complete(seen.sent_at, "One page held the whole list.")
        elif atomic.fits(self._max_body_bytes, crowded=crowded):
            self._atomic = atomic
        else:
            self._check_coverable(seen, keys)

    def _check_coverable(self, seen: Seen, keys: list[float]) -> None:
        if seen.keyless:
            self._give_up(
                "The rows show no time of last change; only a list that fits one page can be proven complete."
            )
        elif not isfinite(self._clock.at(0.0)):
            self._give_up("The server sends no Date header to compare the rows' times with.")
        elif not is_sorted(keys):
            self._give_up("The server does not sort this list by the time of last change.")

    def _take_atomic(self, seen: Seen) -> None:
        assert self._atomic is not None
        self._atomic.take(seen)
        if self._atomic.proven:
            self._complete(seen.sent_at, "One page, read last, held the whole list.")
        elif self._atomic.hopeless:
            self._leave_atomic()

    def _leave_atomic(self) -> None:
        """Go on with the cover; page 1 was its first window."""
        assert self._atomic is not None
        first = self._atomic.first
        self._atomic = None
        self._check_coverable(first, trusted_keys(first, self._traits, self._clock, self._delta))

    def _take_cover(self, seen: Seen, keys: list[float]) -> None:
        assert self._pass is not None
        if seen.ask is self._restart:
            self._begin_front_pass(seen, keys)
        elif self._sweep is not None and self._sweep.asked(seen.ask):
            self._take_sweep(seen, keys)
        elif self._tail is not None and self._tail.asked(seen.ask):
            self._tail.take(seen, self._pass.ranges.lowest)
            self._pass.add(seen, keys)
        else:
            self._pass.take(seen, keys)

    def _take_sweep(self, seen: Seen, keys: list[float]) -> None:
        assert self._sweep is not None
        past_end = seen.ask.end >= (seen.count or 0) + RUN_TEST_OVERHANG
        whole = past_end and not self._traits.counted_first
        if whole or (keys and keys[-1] < self._trusted_until()):
            self._complete(seen.sent_at, "Overlapping pages cover the list, and its front was read last.")
            return
        self._sweep.take(seen, keys, self._trusted_until())
        if self._sweep.exhausted and keys and keys[0] <= self._clock.at(self._begun_at):
            self._wait_for(seen, keys[0])
        elif self._sweep.exhausted:
            self._begin_front_pass(seen, keys)

    def _wait_for(self, seen: Seen, newest: float) -> None:
        """Read the front once more when its keys are old enough to be believed: nothing changes now."""
        seconds = newest + self._delta - self._clock.at(seen.received_at)
        self._restart = Ask(1, seen.ask.limit, not_before=seen.received_at + max(0.0, seconds) + 0.001)

    def _begin_front_pass(self, seen: Seen, keys: list[float]) -> None:
        """Start a pass over the front alone, which was too long for one page."""
        bottom = self._trusted_until()
        self._begun_at, self._sweep, self._restart = seen.sent_at, None, None
        self._tail = TailRead(self._page_size) if self._traits.counted_first else None
        self._begin_pass(seen, keys, bottom=bottom, page_size=seen.ask.limit)

    def _begin_pass(self, seen: Seen, keys: list[float], *, bottom: float, page_size: int) -> None:
        self._keep_figures()
        self._pass = Pass(self._traits, page_size, bottom=bottom, largest_limit=self._largest_limit)
        self._pass.begin(seen, keys)

    # -- endings --------------------------------------------------------------------------------

    def _make_up_for(self, ask: Ask) -> None:
        """Leave a lost page to the repairs, or give up after several."""
        assert self._pass is not None
        self._lost += 1
        if self._sweep is not None and self._sweep.asked(ask):
            self._sweep.lose()
        elif ask is self._restart:
            pass  # asked again
        elif self._tail is None or not self._tail.asked(ask):
            self._pass.lose(ask)
        if self._lost > LOST_PAGES_ALLOWED:
            self._give_up("Several pages could not be read.")
        if self._lost > LOST_PAGES_IN_ALL:
            self._finish(Finding("incomplete", "Too many pages could not be read."))

    def _complete(self, sent_at: float, how: str) -> None:
        if self._undecoded:
            self._finish(Finding("incomplete", f"{self._undecoded} records could not be decoded."))
            return
        if self._traits.rows_enter_with_old_keys:
            how += " Rows that entered it meanwhile may be missing: they do not enter at the front."
        tau = self._clock.at(sent_at)
        self._finish(Finding("complete", how, tau if isfinite(tau) else None))

    def _give_up(self, reason: str) -> None:
        self._trouble = self._trouble or reason
        self._settle()

    def _settle(self) -> None:
        if self._trouble is None or self._in_flight or self.finding is not None:
            return
        if self.requests >= self._budget() or self._pass is None or self._pass.all_planned():
            self._finish(Finding("incomplete", self._trouble))

    def _finish(self, finding: Finding) -> None:
        self._keep_figures()
        self._pass = None
        self.finding = finding

    def _keep_figures(self) -> None:
        if self._pass is not None:
            self.gaps_repaired += self._pass.gaps_repaired
            self.overlapping_rows += self._pass.overlapping_rows
