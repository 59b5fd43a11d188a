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
(`atomic`). A longer one is read in a *pass* of overlapping windows (`passes`), its end
confirmed by a later *tail* read where the list is counted first, and then the *front* is swept: page 1
again, far enough that its last trusted key is older than the pass (T - delta). If even the largest front
page does not reach that far, the front gets a pass of its own, whose beginning is the next T. Lists whose
order can't be trusted are read in windows of creation time (`creation`) where they can be so filtered.

**Termination.** Requests are bounded by ``6 * ceil(count / page_size) + 30`` and the sweep converges
iff (distinct changes a second) * (latency + delta) is less than the largest front page; otherwise the
budget ends it, and the finding is ``incomplete``.
"""

from math import ceil, isfinite

from futureagi_async._sansio.covering.atomic import AtomicRead, CreationRead
from futureagi_async._sansio.covering.keycover import KeyCover
from futureagi_async._sansio.covering.pages import (
    DELTA_SECONDS,
    SMALLEST_LIMIT,
    Ask,
    EndDoubt,
    Finding,
    ListTraits,
    Seen,
    ServerClock,
    is_sorted,
)

LARGEST_LIMIT = 1_000
LOST_PAGES_ALLOWED = 3
"""More make a list incomplete; what was not read yet is still read."""
LOST_PAGES_IN_ALL = 20
"""More end the reading of a list."""


class Cover:
    """The reading of one list: ask, feed the answers back, until there is a finding.

    Call `next_ask` whenever a request may be sent. ``None`` means "not now": wait for an answer to
    `take` or a page to `lose`, or stop where `finding` is set.

    ``since``, in Unix seconds of the server's clock, says that an earlier reading was complete then: only
    what changed since is read, which is what sweeping the front does anyway, where the rows' keys can be
    trusted. The end of the list is not read then.
    """

    def __init__(
        self,
        traits: ListTraits,
        *,
        page_size: int,
        max_body_bytes: int,
        delta: float = DELTA_SECONDS,
        since: float | None = None,
    ) -> None:
        self.count: int | None = None
        self.finding: Finding | None = None
        self.requests = 0
        self._traits = traits
        self._page_size = max(page_size, SMALLEST_LIMIT)
        self._first = Ask(1, page_size)
        self._largest_limit = max(LARGEST_LIMIT, page_size)
        self._max_body_bytes = max_body_bytes
        self._since = since
        self._clock = ServerClock()
        self._doubt = EndDoubt()
        self._in_flight = 0
        self._lost = 0
        self._undecoded = 0
        self._trouble: str | None = None
        self._atomic: AtomicRead | None = None
        self._creation: CreationRead | None = None
        self._keys = KeyCover(
            traits,
            self._clock,
            self._doubt,
            page_size=self._page_size,
            largest_limit=self._largest_limit,
            delta=delta,
        )

    @property
    def sweeps(self) -> int:
        """How often the front was read again."""
        return self._keys.sweeps

    @property
    def gaps_repaired(self) -> int:
        """How many gaps between pages a further page closed."""
        return self._keys.gaps_repaired

    @property
    def overlapping_rows(self) -> int:
        """How many rows were asked for twice on purpose."""
        return self._keys.overlapping_rows

    def next_ask(self) -> Ask | None:
        """Return a page to read now."""
        if self.finding is not None:
            return None
        if self.requests >= self._budget():
            self._give_up(f"The list changes faster than it can be read within {self._budget()} requests.")
            return None
        ask = self._choose()
        if ask is not None:
            self.requests += 1
            self._in_flight += 1
        return ask

    def _choose(self) -> Ask | None:
        idle = not self._in_flight
        if self.count is None:
            return self._first if idle else None
        if self._trouble is not None:  # what can't be proven complete is still delivered
            return self._keys.next_unread()
        if self._atomic is not None:
            return self._atomic.next_ask() if idle else None
        if self._creation is not None:
            return self._creation.next_ask()
        ask = self._keys.next_ask(self.count, idle=idle)
        if self._keys.trouble is not None:
            self._give_up(self._keys.trouble)
        return ask

    def _budget(self) -> int:
        return 6 * ceil((self.count or 0) / self._page_size) + 30

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
        if seen.ask.created is None:
            self.count = seen.count if seen.count is not None else min(self.count or 0, seen.ask.offset)
        if first:
            self._take_first(seen, crowded=crowded)
        elif self._creation is not None:
            self._take_creation(self._creation, seen)
        elif self._atomic is not None:
            self._take_atomic(self._atomic, seen)
        else:
            self._take_window(seen)
        self._settle()

    def lose(self, ask: Ask) -> bool:
        """Take into account that a page could not be read; whether there is another way."""
        self._in_flight -= 1
        if self.count is None:
            self._give_up("The first page could not be read.")
        elif self._creation is not None:
            self._give_up("Some window of creation time could not be read.")
        elif self._atomic is not None:
            self._leave_atomic(self._atomic)
        else:
            self._lose_window(ask)
        self._settle()
        return ask.optional

    def resume(self) -> None:
        """Go on after an interruption.

        Our clock may have begun anew. The caller gives earlier answers times that are as far apart as
        they were, and none later than now: so no earlier ``Date`` makes the server's clock seem ahead.
        """
        self._doubt.forget()

    def stop(self, reason: str) -> None:
        """End the reading from outside, for instance at a deadline."""
        self.finding = self.finding or Finding("incomplete", reason)

    def _take_first(self, seen: Seen, *, crowded: bool) -> None:
        if self._since is not None and seen.has_next and self._trouble_with(seen) is None:
            self._keys.begin_since(seen, self._since)
            self._check_covered()
            return
        self._keys.begin(seen)
        atomic = AtomicRead(self._traits, seen, self._doubt, largest_limit=self._largest_limit)
        if atomic.proven_by_first:
            self._complete(seen.sent_at, "One page held the whole list.")
        elif atomic.fits(self._max_body_bytes, crowded=crowded):
            self._atomic = atomic
        else:
            self._check_coverable(seen)

    def _take_atomic(self, atomic: AtomicRead, seen: Seen) -> None:
        atomic.take(seen)
        if atomic.proven:
            self._complete(seen.sent_at, "One page, read last, held the whole list.")
        elif atomic.hopeless:
            self._leave_atomic(atomic)

    def _leave_atomic(self, atomic: AtomicRead) -> None:
        """Go on with the cover; page 1 was its first window."""
        self._atomic = None
        self._check_coverable(atomic.first)

    def _take_window(self, seen: Seen) -> None:
        self._check_coverable(seen)
        self._keys.take(seen)
        self._check_covered()

    def _check_covered(self) -> None:
        if self._keys.covered_at is not None:
            self._complete(
                self._keys.covered_at, "Overlapping pages cover the list, and its front was read last."
            )

    def _lose_window(self, ask: Ask) -> None:
        """Leave a lost page to the repairs, or give up after several."""
        self._lost += 1
        self._keys.lose(ask)
        if self._lost > LOST_PAGES_ALLOWED:
            self._give_up("Several pages could not be read.")
        if self._lost > LOST_PAGES_IN_ALL:
            self.stop("Too many pages could not be read.")

    def _check_coverable(self, seen: Seen) -> None:
        trouble = self._trouble_with(seen)
        if trouble is not None:
            self._leave_cover(seen, trouble)

    def _trouble_with(self, seen: Seen) -> str | None:
        """Say why the keys of a page prove nothing."""
        if seen.keyless:
            return "The rows show no time of last change; only a list that fits one page can be proven."
        if not isfinite(self._clock.at(0.0)):
            return "The server sends no Date header to compare the rows' times with."
        if not is_sorted(self._keys.trusted(seen)):
            return "The server does not sort this list by the time of last change."
        return None

    def _leave_cover(self, seen: Seen, trouble: str) -> None:
        """Read in windows of creation time where that works, else without proof."""
        now = self._clock.at(seen.sent_at)
        if not self._traits.filters_creation or not isfinite(now):
            self._give_up(trouble)
            return
        self._creation = CreationRead(
            self._traits, now=now, page_size=self._page_size, largest_limit=self._largest_limit
        )

    def _take_creation(self, creation: CreationRead, seen: Seen) -> None:
        if creation.asked(seen.ask):
            creation.take(seen)
        if creation.hopeless:
            self._give_up("Some window of creation time could not be read.")
        elif creation.done and not self._in_flight:
            self._complete(
                creation.last_sent_at,
                "Windows of creation time cover all rows that were in the list from beginning to end.",
            )

    def _complete(self, sent_at: float, how: str) -> None:
        if self._undecoded:
            self.stop(f"{self._undecoded} records could not be decoded.")
            return
        if self._since is not None:
            how = "Everything that changed since then and is still in the list was read."
        if self._traits.rows_enter_with_old_keys:
            how += " Rows that entered it meanwhile may be missing: they do not enter at the front."
        tau = self._clock.at(sent_at)
        self.finding = self.finding or Finding("complete", how, tau if isfinite(tau) else None)

    def _give_up(self, reason: str) -> None:
        self._trouble = self._trouble or reason
        self._settle()

    def _settle(self) -> None:
        if self._trouble is None or self._in_flight:
            return
        if self.requests >= self._budget() or self._keys.all_asked:
            self.stop(self._trouble)
