"""What all of the cover talk about: pages asked for and answered, kinds of lists, the server's clock."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf

import attrs

from futureagi_async.models import Verdict

DELTA_SECONDS = 5.0
"""How much later than its key a change may show up. It must exceed the longest transaction, clock skew
and the gap between the server's statements."""


@attrs.define(frozen=True)
class CoverSizes:
    """How many rows pages hold and share: of real lists by default, of lists of a few rows in models."""

    smallest_limit: int = 20
    """Below it, overlaps cost more than the rows."""
    largest_limit: int = 1_000
    """Rows on a page, as long as smaller ones do."""
    overlap: int = 5
    """Rows that neighbouring windows share, at least."""
    spread: int = 8
    """By how many rows a window may exceed the page size, at least, so as to begin where it should."""
    tail: int = 10
    """How far before its end a list is read again, at least: that many rows may enter meanwhile."""
    overhang: int = 50
    """Rows past ``count`` that a page must reach, on lists that are counted after they are read."""
    room: int = 10
    """The same where the page shows as many rows as ``count`` says."""
    growth: int = 50
    """Rows by which a list may grow, besides a tenth, before one page that is to hold it all."""
    factor_for_ties: int = 4
    """How much larger pages get where half of one, or a whole repair, shows a single key or nothing."""
    least_work: int = 200
    """Lists shorter than this may cost as much reading as one of so many rows."""


STANDARD_SIZES = CoverSizes()


@attrs.define(frozen=True)
class ListTraits:
    """How the server makes a list's pages."""

    counted_first: bool
    """COUNT before the rows, whose LIMIT is cut to it (test executions, versions); a row that enters
    in between pushes the oldest off the end. Otherwise places, rows, count: three statements, where a
    row may show a key newer than its place (run tests)."""
    rows_enter_with_old_keys: bool
    """Version lists, and lists with a status or filters: a row can enter without a new key."""
    filters_creation: bool = False
    """Whether the list can be narrowed to a creation time (test executions)."""


@attrs.define(frozen=True)
class PageRequest:
    """A page to read."""

    page: int
    limit: int
    optional: bool = False
    """Whether there is another way should it fail; then it is not worth a second try."""
    not_before: float = -inf
    """When to send it at the earliest, on the session's clock."""
    created: tuple[float, float] | None = None
    """Read only the rows created from then to then, as Unix seconds."""

    @property
    def offset(self) -> int:
        """Rows before it."""
        return (self.page - 1) * self.limit

    @property
    def end(self) -> int:
        """The offset behind its last row."""
        return self.page * self.limit


@attrs.define(frozen=True, kw_only=True)
class PageResult:
    """What the answer to a `PageRequest` showed. Times in seconds of the session's clock."""

    request: PageRequest
    count: int | None
    """The list's length as the server counted it; ``None`` past the end, where it does not say."""
    ids: Sequence[str]
    keys: Sequence[float | None]
    """Sort keys of the rows in order, as Unix seconds; ``None`` where a row shows none."""
    has_next: bool
    sent_at: float
    received_at: float
    server_time: float | None
    """The answer's ``Date``, as Unix seconds."""
    body_bytes: int = 0
    undecoded: int = 0
    """Rows of the page that could not be read."""

    @property
    def lacks_keys(self) -> bool:
        """Whether some row shows no key."""
        return any(key is None for key in self.keys)


@attrs.define(frozen=True)
class Conclusion:
    """What may be said of a list once nothing is left to ask."""

    verdict: Verdict
    reason: str
    complete_as_of: float | None = None
    """Unix seconds on the server's clock."""


@attrs.define
class ServerClock:
    """A lower bound of the server's clock, learnt from ``Date`` headers."""

    _ahead: float = -inf

    def note(self, server_time: float | None, received_at: float) -> None:
        """Learn from an answer: when it was received, the server's clock was at least its ``Date``."""
        if server_time is not None:
            self._ahead = max(self._ahead, server_time - received_at)

    def at(self, moment: float) -> float:
        """Return the least the server's clock showed at a moment of ours; -inf while unknown."""
        return self._ahead + moment


def holds_any(request: PageRequest, places: Iterable[int], tie: int) -> bool:
    """Whether a page holds one of these places, or one where its row may stand among ``tie`` equal keys."""
    return any(request.offset - tie < place < request.end + tie - 1 for place in places)


def holds_all(result: PageResult, traits: ListTraits, sizes: CoverSizes) -> bool:
    """Whether a page is a whole list, at the moment its places were read.

    Only of lists that are counted last. For m rows to stand behind the page's last place, and yet be counted
    within it, m rows and as many as the page had places to spare must have left the list for good between
    the server's statements: more than ``overhang`` of them. Where a page shows as many rows as were counted,
    it must be exactly as many as that, and more than ``room`` suffices.
    """
    request, count = result.request, result.count
    if traits.counted_first or request.page > 1 or count is None or result.has_next:
        return False
    as_counted = len(set(result.ids)) == len(result.ids) == count
    return request.end >= count + (sizes.room if as_counted else sizes.overhang)


def trusted_keys(result: PageResult, traits: ListTraits, clock: ServerClock, delta: float) -> list[float]:
    """Return the keys that bound an interval: those that surely were the row's place.

    Where places and rows are two statements, a key younger than the request (less ``delta``) may be
    newer than the place it was delivered for.
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
