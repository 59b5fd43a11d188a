"""Decides which page of a list to read next, until the list is provably covered.

The lists are sorted by last change, newest first, without a tie-break, and change while they are read.

**Assumptions.** Rows are sorted by the key they show; a change committed at t carries a key later
than t - ``DELTA_SECONDS`` (which must exceed the longest transaction, clock skew and the gap between
the server's statements); ids are stable.

**Guarantee.** A conclusion ``complete`` with ``complete_as_of`` = tau says: every row that was visible
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

**Termination.** Requests are bounded by ``6 * ceil(count / page_size) + 30``, and the rows they show by
six times the list's. The sweep converges iff (distinct changes a second) * (latency + delta) is less than
the largest front page; otherwise the budget ends it, and the conclusion is ``incomplete``.
"""

from collections.abc import Sequence
from math import ceil, inf, isfinite, log2

import attrs

from futureagi_async._sansio.covering.atomic import AtomicRead, CreationWindows
from futureagi_async._sansio.covering.budget import Budget, PageBounds
from futureagi_async._sansio.covering.failing import FailingPages
from futureagi_async._sansio.covering.keycover import KeyCover
from futureagi_async._sansio.covering.pages import (
    DELTA_SECONDS,
    STANDARD_SIZES,
    Conclusion,
    CoverSizes,
    ListTraits,
    PageRequest,
    PageResult,
    ServerClock,
    holds_any,
    is_sorted,
)
from futureagi_async._sansio.covering.places import Holes
from futureagi_async._sansio.covering.tails import EndConfidence

LOST_PAGES_ALLOWED = 3
"""More make a list incomplete; what was not read yet is still read."""
LOST_PAGES_IN_ALL = 20
"""More, or more rows that can't be read, end the reading of a list."""
_PLACES_NAMED = 5


class Cover:
    """The reading of one list: ask, feed the answers back, until there is a conclusion.

    Call `next_page` whenever a request may be sent. ``None`` means "not now": wait for an answer to
    `add_result` or a page to `add_failure`, or stop where `conclusion` is set.

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
        sizes: CoverSizes = STANDARD_SIZES,
    ) -> None:
        self.count: int | None = None
        self.conclusion: Conclusion | None = None
        self._traits = traits
        self._page_size = max(page_size, sizes.smallest_limit)
        self._first = PageRequest(1, page_size)
        self._sizes = attrs.evolve(sizes, largest_limit=max(sizes.largest_limit, page_size))
        self._max_body_bytes = max_body_bytes
        self._since = since
        self._clock = ServerClock()
        self._end_confidence = EndConfidence()
        self._in_flight = 0
        self._undecoded = 0
        self._lost = 0
        self._lost_bisections = 0
        self._changed = False
        """Whether the list was seen to change since the first page."""
        self._newest = self._began = -inf
        """The greatest key of the first page, and the least the server's clock showed then."""
        self._trouble: str | None = None
        self._spent = False
        """Whether the budget is used up."""
        self._holes = Holes()
        self._bounds = PageBounds(max_body_bytes, self._sizes)
        self._budget = Budget(self._page_size, self._holes, self._sizes)
        self._failing = FailingPages()
        self._atomic: AtomicRead | None = None
        self._creation: CreationWindows | None = None
        self._keys = KeyCover(
            traits,
            self._clock,
            self._end_confidence,
            self._holes,
            self._bounds,
            self._sizes,
            page_size=self._page_size,
            delta=delta,
        )

    @property
    def requests(self) -> int:
        """How many pages were asked for."""
        return self._budget.requests

    @property
    def sweeps(self) -> int:
        """How often the front was read again."""
        return self._keys.sweeps

    @property
    def gaps_repaired(self) -> int:
        """How many gaps between pages a further page closed."""
        return self._keys.gaps_repaired

    def next_page(self) -> PageRequest | None:
        """Return a page to read now."""
        if self.conclusion is not None or self._spent:
            return None
        request = self._choose()
        if request is None:
            return None
        if not self._budget.allows(request, self.count or 0):
            self._spent = True
            self._give_up(self._why_spent())
            return None
        self._budget.add_request(request)
        self._in_flight += 1
        return request

    def _choose(self) -> PageRequest | None:
        idle = not self._in_flight
        if self.count is None:
            return self._first if idle else None
        request = self._failing.next_page()
        if request is not None:
            return request
        if self._trouble is not None:  # what can't be proven complete is still delivered
            return self._keys.next_unread()
        if self._atomic is not None:
            return self._atomic.next_page() if idle else None
        if self._creation is not None:
            return self._creation.next_page()
        if self._failing.busy:
            return self._keys.next_unread()
        request = self._keys.next_page(self.count, idle=idle)
        if self._keys.trouble is not None:
            self._give_up(self._keys.trouble)
        return request

    def _why_spent(self) -> str:
        pages = f"{self.requests} pages were asked for"
        if self._changed:
            return f"The list changes faster than it can be read: {pages}."
        return f"The pages of the list do not agree, although nothing seems to change: {pages}."

    def add_result(self, result: PageResult, *, slots_full: bool = False) -> None:
        """Take an answer into account.

        ``slots_full`` says that enough other lists wait to fill every slot, so that one slow page costs
        nothing.
        """
        self._in_flight -= 1
        self._undecoded += result.undecoded
        self._clock.note(result.server_time, result.received_at)
        self._budget.add_result(result)
        first = self.count is None
        if result.request.created is None:
            self._note_list(result)
        if first:
            self._take_first(result, slots_full=slots_full)
        elif self._creation is not None:
            self._take_creation(self._creation, result)
        elif self._atomic is not None:
            self._take_atomic(self._atomic, result)
        else:
            self._take_page(result)
        self._settle()

    def add_failure(self, request: PageRequest, failures: int = 0) -> bool:
        """Take into account that a page could not be read; whether there is another way.

        ``failures`` is how often it failed for a reason that smaller pages may not share; 0 where the
        reason has nothing to do with the page.
        """
        self._in_flight -= 1
        self._budget.add_failure(request)
        another_way = self._take_failure(request, failures)
        self._settle()
        return another_way or request.optional

    def resume(self) -> None:
        """Go on after an interruption, of which nobody knows what it brought."""
        self._end_confidence.forget()

    def stop(self, reason: str) -> None:
        """End the reading from outside, for instance at a deadline."""
        self.conclusion = self.conclusion or Conclusion("incomplete", reason)

    def _note_list(self, result: PageResult) -> None:
        """Learn from a page of the whole list."""
        count = self.count
        newest = max((key for key in result.keys if key is not None), default=-inf)
        if count is None:
            self._newest = newest
            self._began = self._clock.at(result.sent_at)
        elif result.count not in (None, count) or newest > max(self._newest, self._began):
            self._changed = True
        if result.count is not None:
            self.count = result.count
        else:
            self.count = result.request.offset if count is None else min(count, result.request.offset)
        self._end_confidence.note(result)
        self._holes.note(result)
        self._bounds.note(result)
        self._failing.add_result(result.request)
        self._note_unreadable()

    def _take_first(self, result: PageResult, *, slots_full: bool) -> None:
        if self._first.page > 1:  # page 1 failed, but the list can be read
            self._keys.begin(result)
            self._bisect(PageRequest(1, self._first.limit))
            return
        if self._since is not None and result.has_next and self._trouble_with(result) is None:
            self._keys.begin_since(result, self._since)
            self._check_covered()
            return
        self._keys.begin(result)
        atomic = AtomicRead(self._traits, result, self._end_confidence, self._sizes)
        if atomic.proven_by_first:
            self._complete(result.sent_at, "One page held the whole list.")
        elif atomic.fits(self._max_body_bytes, slots_full=slots_full):
            self._atomic = atomic
        else:
            self._check_coverable(result)

    def _take_atomic(self, atomic: AtomicRead, result: PageResult) -> None:
        atomic.add_result(result)
        if atomic.proven:
            self._complete(result.sent_at, "One page, read last, held the whole list.")
        elif atomic.failed:
            self._leave_atomic(atomic)

    def _leave_atomic(self, atomic: AtomicRead) -> None:
        """Go on with the cover; page 1 was its first window."""
        self._atomic = None
        self._check_coverable(atomic.first)

    def _take_page(self, result: PageResult) -> None:
        self._check_coverable(result)
        self._keys.add_result(result)
        self._check_covered()

    def _check_covered(self) -> None:
        if self._keys.covered_at is not None:
            self._complete(
                self._keys.covered_at, "Overlapping pages cover the list, and its front was read last."
            )

    def _take_failure(self, request: PageRequest, failures: int) -> bool:
        """Find another way around a page that failed; whether there is one."""
        if self.count is None:
            return self._lose_first(request, failures)
        if self._creation is not None and request.created is not None:
            self._give_up("A window of creation time could not be read.")
            return False
        if self._atomic is not None:
            self._leave_atomic(self._atomic)
            return failures > 0
        found = self._failing.add_failure(request)
        if found is not None:
            self._note_unreadable()
            return not found
        large = self._holes.rows(request.offset, request.end) > self._bounds.usual
        if holds_any(request, self._failing.unreadable, self._keys.largest_tie):
            self._keys.add_failure(request)
            if failures and not large:
                self._bisect(request)  # for the rows beside the one that is known
            return True
        if failures and not large and self._failing.tries_again(request, failures):
            self._failing.try_again(request)
            return True
        self._keys.add_failure(request)
        if failures and not large and self._bisect(request):
            return True
        self._lose_page()
        return False

    def _lose_first(self, request: PageRequest, failures: int) -> bool:
        """Ask again, or whether the list can be read at all but for its first page."""
        if request.page == 1 and failures:
            if not self._failing.tries_again(request, failures):
                self._first = PageRequest(2, request.limit)
            return True
        self._give_up("The first page could not be read.")
        return False

    def _bisect(self, request: PageRequest) -> bool:
        end = max(self.count or 0, request.offset + 1)
        if not self._failing.bisect(request, end, self._keys.largest_tie):
            return False
        self._budget.extend(2 * ceil(log2(request.limit)) + 2)
        return True

    def _note_unreadable(self) -> None:
        self._keys.unreadable[:] = self._failing.unreadable
        while self._lost_bisections < self._failing.in_vain:
            self._lost_bisections += 1
            self._lose_page()

    def _lose_page(self) -> None:
        """Leave a lost page to the repairs, or give up after several."""
        self._lost += 1
        if self._lost > LOST_PAGES_ALLOWED:
            self._give_up("Several pages could not be read.")
        if self._lost > LOST_PAGES_IN_ALL:
            self.stop("Too many pages could not be read.")

    def _check_coverable(self, result: PageResult) -> None:
        trouble = self._trouble_with(result)
        if trouble is not None:
            self._leave_cover(result, trouble)

    def _trouble_with(self, result: PageResult) -> str | None:
        """Say why the keys of a page prove nothing."""
        if result.lacks_keys:
            return "The rows show no time of last change; only a list that fits one page can be proven."
        if not isfinite(self._clock.at(0.0)):
            return "The server sends no Date header to compare the rows' times with."
        if not is_sorted(self._keys.trusted(result)):
            return "The server does not sort this list by the time of last change."
        return None

    def _leave_cover(self, result: PageResult, trouble: str) -> None:
        """Read in windows of creation time where that works, else without proof."""
        now = self._clock.at(result.sent_at)
        if not self._traits.filters_creation or not isfinite(now):
            self._give_up(trouble)
            return
        self._creation = CreationWindows(self._traits, now=now, page_size=self._page_size, sizes=self._sizes)

    def _take_creation(self, creation: CreationWindows, result: PageResult) -> None:
        if creation.requested(result.request):
            creation.add_result(result)
        if creation.trouble is not None:
            self._give_up(creation.trouble)
        elif creation.done and not self._in_flight:
            self._complete(
                creation.last_sent_at,
                "Windows of creation time cover all rows that were in the list from beginning to end.",
            )

    def _complete(self, sent_at: float, how: str) -> None:
        if self._failing.unreadable or self._undecoded:
            self.stop(self._why_incomplete(how))
            return
        if self._since is not None:
            how = "Everything that changed since then and is still in the list was read."
        if self._traits.rows_enter_with_old_keys:
            how += " Rows that entered it meanwhile may be missing: they do not enter at the front."
        tau = self._clock.at(sent_at)
        self.conclusion = self.conclusion or Conclusion("complete", how, tau if isfinite(tau) else None)

    def _give_up(self, reason: str) -> None:
        self._trouble = self._trouble or reason
        self._settle()

    def _settle(self) -> None:
        if self._trouble is None or self._in_flight:
            return
        if self._spent or (self._keys.all_planned and not self._failing.busy):
            self.stop(self._why_incomplete(self._trouble))

    def _why_incomplete(self, otherwise: str) -> str:
        if places := self._failing.unreadable:
            return _tell_places(places, self._keys.largest_tie)
        if not self._undecoded:
            return otherwise
        records = "1 record" if self._undecoded == 1 else f"{self._undecoded} records"
        return f"{records} could not be decoded."


def _tell_places(places: Sequence[int], tie: int) -> str:
    """Name the rows that can't be read, by pages that hold nothing else."""
    pages = [f"page={place + 1}&limit=1" for place in places[:_PLACES_NAMED]]
    more = f" and {len(places) - len(pages)} more" if len(places) > len(pages) else ""
    rows = "one row" if len(places) == 1 else f"rows at {len(places)} places"
    equal = " Calls with the same time of last change may be missing, too." if tie > 1 else ""
    return f"The server fails to deliver {rows}: {', '.join(pages)}{more}.{equal}"
