"""Pages that fail: tried again, and where the server can't deliver one of their rows, halved to find it.

Neighbouring windows overlap, and a row in both breaks both: the second page waits for the first one's search.
"""

from collections import Counter
from collections.abc import Iterator

from futureagi_async._sansio.covering.pages import PageRequest

_TRIES = 2
"""How often a page has to fail before it is halved."""
_MOST_UNREADABLE = 20
"""Rows looked for; a list with more of them fails for another reason."""

_DOUBTFUL = 3
"""Failures without an answer in between that may just as well mean that the server answers nothing."""
_SHARE_AT_THE_FRONT = 0.4


class Bisection:
    """Halves a page that failed until the row is alone, then reads what was left out behind it.

    Pages begin at multiples of their limit, so halves are not exact, and may reach back to places that
    were read already; no page holds a row that is known to be unreadable. Each is tried once.

    Where the row is ``known``, from another page that holds it, what stands before it is read in one page.
    """

    def __init__(self, failed: PageRequest, end: int, tie: int, known: int | None = None) -> None:
        self.unreadable: list[int] = []
        """Places of rows that can't be read, counted from 0."""
        self.gave_up = False
        """Whether nothing is answered any more, and so nothing known of any row."""
        self._start, self._end = failed.offset, max(end, failed.offset + 1)
        self._suspect: tuple[int, int] | None = self._start, self._end
        """Places among which there is an unreadable row."""
        self._narrowed = self._suspect
        """The same, when a page last failed."""
        self._unread = (0, 0)
        """Places behind them that were left out."""
        self._request: PageRequest | None = None
        self._failures = 1
        """Since the last answer."""
        self._tie = tie
        """How many rows may share a key: among so many places a row may stand elsewhere each time."""
        self._known = known
        if known is not None:
            self._narrow(known + 1)
            self._take_known()

    def shares_places(self, start: int, end: int) -> bool:
        """Whether some of these places are among those that it was given."""
        return start < self._end and end > self._start

    @property
    def done(self) -> bool:
        """Whether every row was read but those that can't be."""
        return self.gave_up or (self._suspect is None and not self._left_out)

    @property
    def _left_out(self) -> bool:
        return self._unread[0] < self._unread[1]

    def note_answer(self) -> None:
        """Learn that the server answers some page of the list."""
        self._failures = 0

    def next_page(self) -> PageRequest | None:
        """Return a page to read, one at a time."""
        if self._request is not None or self.done:
            return None
        doubtful = self._failures >= _DOUBTFUL and self._left_out
        if self._suspect is None or doubtful:
            self._request = self._rest()
        else:
            self._request = self._first_half(*self._suspect)
        return self._request

    def requested(self, request: PageRequest) -> bool:
        """Whether ``request`` was this one's."""
        return request is self._request

    def add_result(self, request: PageRequest) -> None:
        """Take a page that was answered: an unreadable row is among the other places."""
        self._request = None
        if self._suspect is not None and request.offset <= self._suspect[0]:
            end = self._suspect[1]
            self._suspect = (request.end, end) if request.end < end else None
            if self._suspect is None and self._narrowed[1] - self._narrowed[0] <= self._tie > 1:
                self.unreadable.append(self._narrowed[0])  # its row stands elsewhere among them each time
            self._take_known()
        else:
            self._unread = request.end, self._unread[1]

    def add_failure(self, request: PageRequest) -> None:
        """Take a page that failed: an unreadable row is on it."""
        self._request = None
        self._failures += 1
        if self._suspect is None and self._may_be_known():
            return
        if self._suspect is None:
            self._suspect = self._unread
        elif request.offset > self._suspect[0]:
            self.gave_up = True
            return
        self._known = None  # it stands elsewhere this time
        self._narrow(request.end)
        if request.limit == 1:
            self.unreadable.append(request.offset)
            self._suspect = None

    def _narrow(self, end: int) -> None:
        """Look for the row before a place, and leave out what stands behind it."""
        assert self._suspect is not None
        start, before = self._suspect
        self._suspect = self._narrowed = start, min(end, before)
        self._unread = self._suspect[1], max(self._unread[1], before)

    def _take_known(self) -> None:
        """Be done with the row that is known once all before it was read."""
        if self._known is not None and self._suspect == (self._known, self._known + 1):
            self.unreadable.append(self._known)
            self._suspect = None

    def _may_be_known(self) -> bool:
        """Leave out the places where the row that was found last may stand this time, if there are any."""
        start, end = self._unread
        behind = self.unreadable[-1] + self._tie if self.unreadable else start
        self._unread = max(start, behind), end
        return start < behind

    def _first_half(self, start: int, end: int) -> PageRequest:
        """Return the page that holds ``start`` and ends as near to the middle as may be.

        Near the front it ends sooner: there it takes more pages to read what lies behind an unreadable row.
        """
        size = end - start
        if size == 1:
            return PageRequest(start + 1, 1, optional=True)
        middle = start + size * (_SHARE_AT_THE_FRONT if start < size else 0.5)
        if self._known is not None:
            middle = self._known
        halves = (page for page in self._pages_at(start, 2 * size) if page.end < end)
        return min(halves, key=lambda page: abs(page.end - middle) + 0.1 * (start - page.offset))

    def _rest(self) -> PageRequest:
        """Return the page that reads most of what was left out."""
        start, end = self._unread
        pages = self._pages_at(start, 2 * (end - start))
        return min(pages, key=lambda page: (-min(page.end, end), page.limit))

    def _pages_at(self, place: int, largest: int) -> Iterator[PageRequest]:
        """Yield the pages that hold a place and no row that can't, or may not, be read."""
        least = self.unreadable[-1] + 1 if self.unreadable else 0
        if self._suspect is not None and place >= self._suspect[1]:
            least = self._suspect[1]
        for limit in range(1, largest + 1):
            if place // limit * limit >= least:
                yield PageRequest(place // limit + 1, limit, optional=True)


class FailingPages:
    """The pages of a list that failed for a reason that smaller pages may not share."""

    def __init__(self) -> None:
        self.unreadable: list[int] = []
        """Places of rows that the server can't deliver, counted from 0."""
        self.in_vain = 0
        """Pages that failed, although no row of theirs was found to be unreadable."""
        self._tries: Counter[PageRequest] = Counter()
        self._again: list[PageRequest] = []
        self._bisections: list[Bisection] = []
        self._waiting: list[tuple[PageRequest, int, int]] = []
        """What `bisect` was given, for pages that share places with others: their row may be the same."""

    @property
    def busy(self) -> bool:
        """Whether some row is still looked for, or some page tried again."""
        return bool(self._again or self._bisections)

    def tries_again(self, request: PageRequest, failures: int) -> bool:
        """Whether a page that failed so many times is to be tried again as it is."""
        self._tries[request] += failures
        return self._tries[request] < _TRIES

    def try_again(self, request: PageRequest) -> None:
        """Hand a page out once more."""
        self._again.append(request)

    def bisect(self, request: PageRequest, end: int, tie: int) -> bool:
        """Look for the row a page fails for, up to the place ``end``; ``False`` where there are too many."""
        if len(self.unreadable) >= _MOST_UNREADABLE:
            return False
        end = min(end, request.end)
        if any(each.shares_places(request.offset, end) for each in self._bisections):
            self._waiting.append((request, end, tie))
            return True
        known = next((place for place in self.unreadable if request.offset <= place < end), None)
        self._bisections.append(Bisection(request, end, tie, known))
        return True

    def next_page(self) -> PageRequest | None:
        """Return a page to read, of those not in flight."""
        if self._again:
            return self._again.pop()
        requests = (bisection.next_page() for bisection in self._bisections)
        return next((request for request in requests if request is not None), None)

    def add_result(self, request: PageRequest) -> None:
        """Take any answer into account."""
        self._tries.pop(request, None)
        for bisection in self._bisections:
            bisection.note_answer()
        asked = self._bisection_of(request)
        if asked is not None:
            asked.add_result(request)
            self._settle(asked)

    def add_failure(self, request: PageRequest) -> bool | None:
        """Take a failed half; whether its row is now known to be unreadable. ``None``: it is no such page."""
        bisection = self._bisection_of(request)
        if bisection is None:
            return None
        found = len(bisection.unreadable)
        bisection.add_failure(request)
        found = len(bisection.unreadable) - found
        self._settle(bisection)
        return found > 0

    def _bisection_of(self, request: PageRequest) -> Bisection | None:
        return next((each for each in self._bisections if each.requested(request)), None)

    def _settle(self, bisection: Bisection) -> None:
        if not bisection.done:
            return
        self._bisections.remove(bisection)
        if bisection.gave_up or not bisection.unreadable:
            self.in_vain += 1
        else:
            self.unreadable.extend(sorted({*bisection.unreadable} - {*self.unreadable}))
        waiting, self._waiting = self._waiting, []
        self.in_vain += sum(not self.bisect(*page) for page in waiting)
