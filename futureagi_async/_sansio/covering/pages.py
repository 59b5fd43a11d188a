"""Page requests and results, what is known of a list, the server's clock, and page arithmetic."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil, exp, inf, log

import attrs

from futureagi_async.models import Verdict

RUN_TEST_OVERHANG = 50
"""Rows past ``count`` that a page must reach, on lists that are counted after they are read."""


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


SMALLEST_LIMIT = 20
"""Below it, overlaps cost more than the rows."""


def window_from(start: int, known_to: int, page_size: int) -> PageRequest:
    """Return a page of about ``page_size`` rows that holds offset ``start`` and reaches far.

    Near the front, where few offsets exist, none may get beyond offset ``known_to``; then sizes
    from half to twice as many rows are looked at for the most new rows a row read.
    """
    usual = range(max(1, page_size * 4 // 5), max(page_size * 6 // 5, page_size + 8) + 1)
    request = max(_holding(start, usual), key=lambda request: request.end)
    if request.end - known_to >= page_size // 4:
        return request
    unusual = range(max(1, page_size // 2), 2 * page_size + 1)
    return max(_holding(start, unusual), key=lambda request: (request.end - known_to) / request.limit)


def window_around(middle: int, limit: int) -> PageRequest:
    """Return a page of ``limit`` rows or a few more that has an offset near its middle."""
    limits = range(limit, limit + max(8, limit // 2) + 1)
    return min(
        _holding(max(0, middle), limits), key=lambda request: abs(request.offset + request.end - 2 * middle)
    )


def tail_window(count: int, margin: int, page_size: int) -> PageRequest:
    """Return a page that begins at least ``margin`` rows before offset ``count`` and reaches past it."""
    start = max(0, count - margin)
    for limit in range(max(margin + 1, page_size * 4 // 5), 2 * max(margin + 1, page_size) + 1):
        request = PageRequest(start // limit + 1, limit)
        if request.end > count:
            return request
    return PageRequest(1, count + margin)


def _holding(offset: int, limits: Iterable[int]) -> Iterable[PageRequest]:
    return (PageRequest(offset // limit + 1, limit) for limit in limits)


_RESIDUAL = 1e-4
"""How likely the oldest row may fall off the end of every read that looked for it."""
_GAP_SHARE = 0.25
"""The share of the quickest request's time that may lie between the server's two statements."""
_MOST_READS = 12


class EndConfidence:
    """How many reads must agree on the end, given how fast rows enter.

    A row that enters between COUNT and the rows pushes the oldest off. One read that nothing enters
    during settles it; the more rows enter a second, the more reads it takes to be sure of such a one.
    """

    def __init__(self) -> None:
        self._count: int | None = None
        self._entered = 0
        self._first_at = self._last_at = 0.0
        self._quickest_seconds = inf

    def note(self, result: PageResult) -> None:
        """Learn from any answer how fast the list grows."""
        if result.count is None:
            return
        if self._count is None:
            self._first_at = result.sent_at
        else:
            self._entered += max(0, result.count - self._count)
        self._count, self._last_at = result.count, result.received_at
        self._quickest_seconds = min(self._quickest_seconds, result.received_at - result.sent_at)

    def forget(self) -> None:
        """Begin anew after an interruption, of which nobody knows what it brought."""
        self._count, self._entered = None, 0

    def reads_needed(self) -> int | None:
        """Return how many reads of the end must agree, the first included; ``None``: no number is enough."""
        if not self._entered:
            return 2
        per_second = self._entered / max(self._last_at - self._first_at, 1e-9)
        pushed_off = 1 - exp(-per_second * self._quickest_seconds * _GAP_SHARE)
        if not 0 < pushed_off < 1:
            return 2 if pushed_off <= 0 else None
        reads = max(2, ceil(log(_RESIDUAL) / log(pushed_off)))
        return reads if reads <= _MOST_READS else None


DELTA_SECONDS = 5.0
