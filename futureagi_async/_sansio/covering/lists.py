"""What is known of a list: its nature, its pages as read, and the server's clock."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf

import attrs

from futureagi_async.models import Verdict

RUN_TEST_OVERHANG = 50
"""Rows past ``count`` that a page must ask for, on lists that are counted after they are read."""


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
class Ask:
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
class Seen:
    """What the answer to an `Ask` showed. Times in seconds of the session's clock."""

    ask: Ask
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
    def keyless(self) -> bool:
        """Whether some row shows no key."""
        return any(key is None for key in self.keys)


@attrs.define(frozen=True)
class Finding:
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


def trusted_keys(seen: Seen, traits: ListTraits, clock: ServerClock, delta: float) -> list[float]:
    """Return the keys that bound an interval: those that surely were the row's place.

    Where places and rows are two statements, a key younger than the request (less ``delta``) may be
    newer than the place it was delivered for.
    """
    if traits.counted_first:
        return [key for key in seen.keys if key is not None]
    newest = clock.at(seen.sent_at) - delta
    return [key for key in seen.keys if key is not None and key <= newest]


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
