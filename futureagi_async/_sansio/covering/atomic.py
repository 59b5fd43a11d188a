"""The atomic page: a whole list in one answer, which can't lose rows to paging."""

from math import ceil

from futureagi_async._sansio.covering.lists import RUN_TEST_OVERHANG, Ask, ListTraits, Seen
from futureagi_async._sansio.covering.tails import EndDoubt
from futureagi_async._sansio.covering.windows import tail_window

PATIENCE_SECONDS = 3.0
"""What one page may take: as parallel pages, its rows would arrive sooner."""
PATIENCE_SECONDS_CROWDED = 15.0
"""The same, while other lists fill all slots."""
PATIENCE_SECONDS_KEYLESS = 60.0
"""The same, where rows show no time of last change: nothing else could prove the list complete."""
LEAST_TAIL = 10
_READS = 10
"""Tries before a list that keeps growing out of its page is covered instead."""


class AtomicRead:
    """Decides whether a list fits one page, and reads it so.

    On lists that are counted first, a row that enters between the server's two statements pushes the
    oldest row off the page's end. There the end is read first, and the one page last: the oldest rows
    are in one or the other unless that happened to both.
    """

    def __init__(self, traits: ListTraits, first: Seen, doubt: EndDoubt, *, largest_limit: int) -> None:
        self.first = first
        self.proven = False
        self.hopeless = False
        self._traits = traits
        self._doubt = doubt
        self._largest_limit = largest_limit
        self._count = first.count or 0
        self._tail: Seen | None = first if self._reaches_end(first) else None
        self._agreeing = 1
        """Reads of the end that agree on it, one after another."""
        self._reads = 0

    @property
    def proven_by_first(self) -> bool:
        """Whether page 1 was already the whole list, and nothing else is needed."""
        return not self._traits.counted_first and self._reaches_end(self.first)

    def fits(self, max_body_bytes: int, *, crowded: bool) -> bool:
        """Whether one page is worth trying, judging by what page 1 took."""
        rows = self.rows
        seen = self.first
        read = max(1, len(seen.keys))
        seconds = (seen.received_at - seen.sent_at) * rows / read
        patience = PATIENCE_SECONDS_CROWDED if crowded else PATIENCE_SECONDS
        if seen.keyless:
            patience = PATIENCE_SECONDS_KEYLESS
        small = seen.body_bytes * rows / read <= max_body_bytes / 2
        return rows <= self._largest_limit and seconds <= patience and small

    def next_ask(self) -> Ask:
        """Return the tail first where it is needed, then the one page."""
        if self._traits.counted_first and self._tail is None:
            return tail_window(self._count, LEAST_TAIL, 2 * LEAST_TAIL)
        return Ask(1, self.rows, optional=True)

    def take(self, seen: Seen) -> None:
        """Take the tail, or the one page."""
        self._reads += 1
        self._count = seen.count if seen.count is not None else min(self._count, seen.ask.offset)
        self._agreeing = self._agreeing + 1 if self._tail_is_in(seen) else 1
        needed = self._doubt.reads_needed() if self._traits.counted_first else 1
        whole = seen.ask.page == 1 and self._reaches_end(seen)
        self.proven = whole and needed is not None and self._agreeing >= needed
        if self._reaches_end(seen):
            self._tail = seen
        tired = self._reads >= _READS or self.rows > self._largest_limit
        self.hopeless = not self.proven and (tired or needed is None)

    @property
    def rows(self) -> int:
        """How many rows to ask for, so that the list still fits when it has grown a little."""
        return ceil(self._count * 1.1) + 50

    def _reaches_end(self, seen: Seen) -> bool:
        if seen.count is None:
            return False
        overhang = 0 if self._traits.counted_first else RUN_TEST_OVERHANG
        reaches = seen.ask.end >= seen.count + overhang and not seen.has_next
        begins_before = seen.ask.page == 1 or seen.count - seen.ask.offset >= LEAST_TAIL
        return reaches and begins_before

    def _tail_is_in(self, seen: Seen) -> bool:
        """Whether the page joins the earlier read of the end, so that no oldest row fell between."""
        tail = self._tail
        if tail is None:
            return False
        if set(tail.ids) <= set(seen.ids):
            return True
        lowest, highest_of_tail = seen.keys[-1:], tail.keys[:1]
        if not lowest or not highest_of_tail or lowest[0] is None or highest_of_tail[0] is None:
            return False
        return tail.ask.page == 1 or lowest[0] < highest_of_tail[0]
