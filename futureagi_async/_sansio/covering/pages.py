"""Types that the modules of the cover share: pages and their results, kinds of lists, the server's clock."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf

import attrs

from futureagi_async.models import Verdict

DELTA_SECONDS = 5.0
"""Maximum delay between a change's key and its visibility. It must exceed the longest transaction, the clock
skew, and the gap between the server's statements."""


@attrs.define(frozen=True)
class CoverSizes:
    """Sizes of pages and overlaps: the defaults for real lists, small ones for models."""

    smallest_limit: int = 20
    """Minimum page size; below it, overlaps cost more than the rows."""
    largest_limit: int = 1_000
    """Maximum rows on a page, as long as smaller ones suffice."""
    overlap: int = 5
    """Minimum number of rows that neighbouring windows share."""
    spread: int = 8
    """Minimum number of rows by which a window may exceed the page size, to begin at the right offset."""
    tail: int = 10
    """Minimum distance from the end for reading it again: that many rows may enter during the read."""
    overhang: int = 50
    """Number of rows past ``count`` that a page must reach, for lists that are counted after reading."""
    room: int = 10
    """The same if the page has exactly ``count`` rows."""
    growth: int = 50
    """Number of rows by which a list may grow, besides a tenth, before a page that must contain all of it."""
    factor_for_ties: int = 4
    """Growth factor of pages if half of one, or a whole repair, has a single key or no row."""
    least_work: int = 200
    """Lists shorter than this may cost as much as one of this length."""


STANDARD_SIZES = CoverSizes()


@attrs.define(frozen=True)
class ListTraits:
    """How the server makes the pages of a kind of list."""

    counted_first: bool
    """COUNT before the rows, whose LIMIT is cut to it (test executions, versions); a row that enters
    in between pushes the oldest off the end. Otherwise places, rows, count: three statements, where a
    row may show a key newer than its place (run tests)."""
    rows_enter_with_old_keys: bool
    """Version lists, and lists with a status or filters: a row can enter without a new key."""
    filters_creation: bool = False
    """Whether the list can be filtered by creation time (test executions)."""


@attrs.define(frozen=True)
class PageRequest:
    """A page to read."""

    page: int
    limit: int
    optional: bool = False
    """Whether there is an alternative if it fails; then it gets no retry."""
    not_before: float = -inf
    """The earliest time for sending it, on the session's clock."""
    created: tuple[float, float] | None = None
    """Read only rows that were created in this interval, in Unix seconds."""

    @property
    def offset(self) -> int:
        """Number of rows before the page."""
        return (self.page - 1) * self.limit

    @property
    def end(self) -> int:
        """The offset after its last row."""
        return self.page * self.limit


@attrs.define(frozen=True, kw_only=True)
class PageResult:
    """The result of a `PageRequest`. Times are seconds of the session's clock."""

    request: PageRequest
    count: int | None
    """The list's length according to the server; ``None`` past the end, where the server does not send it."""
    ids: Sequence[str]
    keys: Sequence[float | None]
    """Sort keys of the rows in order, as Unix seconds; ``None`` if a row has none."""
    has_next: bool
    sent_at: float
    received_at: float
    server_time: float | None
    """The response's ``Date``, as Unix seconds."""
    body_bytes: int = 0
    undecoded: int = 0
    """Number of rows on the page that could not be decoded."""

    @property
    def lacks_keys(self) -> bool:
        """Whether a row has no key."""
        return any(key is None for key in self.keys)


@attrs.define(frozen=True)
class Conclusion:
    """The final verdict on a list."""

    verdict: Verdict
    reason: str
    complete_as_of: float | None = None
    """Unix seconds on the server's clock."""


@attrs.define
class ServerClock:
    """A lower bound of the server's clock, from ``Date`` headers."""

    _ahead: float = -inf

    def note(self, server_time: float | None, received_at: float) -> None:
        """Learn from a response: when it was received, the server's clock was at least its ``Date``."""
        if server_time is not None:
            self._ahead = max(self._ahead, server_time - received_at)

    def at(self, moment: float) -> float:
        """Return the lower bound of the server's clock at a session time; -inf if unknown."""
        return self._ahead + moment


def holds_any(request: PageRequest, places: Iterable[int], tie: int) -> bool:
    """Whether a page has one of these positions, or one that its row may have among ``tie`` equal keys."""
    return any(request.offset - tie < place < request.end + tie - 1 for place in places)


def holds_all(result: PageResult, traits: ListTraits, sizes: CoverSizes) -> bool:
    """Whether a page is a whole list, at the moment its positions were read.

    Only for lists that are counted last. For m rows to be past the last position of the page, and still not
    be counted, m rows, plus as many as the page had spare positions, must have left the list between the
    server's statements: more than ``overhang`` rows. If a page has exactly as many rows as were counted, more
    than ``room`` rows suffice.
    """
    request, count = result.request, result.count
    if traits.counted_first or request.page > 1 or count is None or result.has_next:
        return False
    as_counted = len(set(result.ids)) == len(result.ids) == count
    return request.end >= count + (sizes.room if as_counted else sizes.overhang)


def trusted_keys(result: PageResult, traits: ListTraits, clock: ServerClock, delta: float) -> list[float]:
    """Return the keys that bound an interval: those that certainly determined the row's position.

    If positions and rows are two statements, a key that is younger than the request (minus ``delta``) may be
    newer than the position of its row.
    """
    if traits.counted_first:
        return [key for key in result.keys if key is not None]
    newest = clock.at(result.sent_at) - delta
    return [key for key in result.keys if key is not None and key <= newest]


def is_sorted(keys: Sequence[float]) -> bool:
    """Whether keys go from newest to oldest."""
    return all(first >= second for first, second in pairwise(keys))


def largest_tie(keys: Sequence[float]) -> int:
    """Return the length of the longest run of equal keys."""
    longest = run = 0
    previous: float | None = None
    for key in keys:
        run = run + 1 if key == previous else 1
        longest, previous = max(longest, run), key
    return longest
