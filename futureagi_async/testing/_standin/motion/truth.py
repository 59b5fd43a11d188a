"""What was in a list at which virtual moments: exact, for judging what readers claim."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from futureagi_async.testing._standin.data.listing import Listing
    from futureagi_async.testing._standin.data.rows import Listed, State


def alive_throughout(listing: Listing, start: float, end: float, status: str | None) -> set[str]:
    """Return the ids of rows that were delivered at every moment from `start` to `end`."""
    counts = _counts(listing, status)
    return {row.id for row in listing.members if all(map(counts, _states(row, start, end)))}


def alive_sometime(listing: Listing, start: float, end: float, status: str | None) -> set[str]:
    """Return the ids of rows that were delivered at some moment from `start` to `end`."""
    counts = _counts(listing, status)
    return {row.id for row in listing.members if any(map(counts, _states(row, start, end)))}


def _counts(listing: Listing, status: str | None) -> Callable[[State | None], bool]:
    def counts(state: State | None) -> bool:
        if state is None or not listing.rule.delivers(state):
            return False
        return status is None or state.status == status

    return counts


def _states(row: Listed, start: float, end: float) -> Iterator[State | None]:
    """Yield the state at `start`, `None` before the row was there, and each that came up to `end`."""
    timeline = row.timeline
    first = bisect_right(timeline, start, key=lambda entry: entry[0])
    yield timeline[first - 1][1] if first else None
    for moment, state in timeline[first:]:
        if moment > end:
            return
        yield state
