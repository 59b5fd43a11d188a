"""The tail read: believes the end of a list only when a later read shows nothing below it.

Where a list is counted before its rows are read, a row that enters in between pushes the oldest row
off the end, and "no next page" proves nothing.
"""

from math import ceil, exp, inf, log

from futureagi_async._sansio.covering.keyranges import KeyRange
from futureagi_async._sansio.covering.lists import Ask, Seen
from futureagi_async._sansio.covering.windows import tail_window

_RESIDUAL = 1e-4
"""How likely the oldest row may fall off the end of every read that looked for it."""
_GAP_SHARE = 0.25
"""The share of the quickest request's time that may lie between the server's two statements."""
_MOST_READS = 12
LEAST_ROWS = 10
"""How far before the end the read begins, at least: as many entries may fall between two statements."""


class EndDoubt:
    """How many reads must agree on the end, given how fast rows enter.

    A row that enters between COUNT and the rows pushes the oldest off. One read that nothing enters
    during settles it; the more rows enter a second, the more reads it takes to be sure of such a one.
    """

    def __init__(self) -> None:
        self._count: int | None = None
        self._entered = 0
        self._first_at = self._last_at = 0.0
        self._quickest_seconds = inf

    def note(self, seen: Seen) -> None:
        """Learn from any answer how fast the list grows."""
        if seen.count is None:
            return
        if self._count is None:
            self._first_at = seen.sent_at
        else:
            self._entered += max(0, seen.count - self._count)
        self._count, self._last_at = seen.count, seen.received_at
        self._quickest_seconds = min(self._quickest_seconds, seen.received_at - seen.sent_at)

    def forget(self) -> None:
        """Begin anew after an interruption, of which nobody knows what it brought."""
        self._count, self._entered = None, 0

    def reads_needed(self) -> int | None:
        """Return how many reads of the end must agree, the first included; ``None``: hopeless."""
        if not self._entered:
            return 2
        per_second = self._entered / max(self._last_at - self._first_at, 1e-9)
        pushed_off = 1 - exp(-per_second * self._quickest_seconds * _GAP_SHARE)
        if not 0 < pushed_off < 1:
            return 2 if pushed_off <= 0 else None
        reads = max(2, ceil(log(_RESIDUAL) / log(pushed_off)))
        return reads if reads <= _MOST_READS else None


class TailRead:
    """Reads the end again, until enough reads show nothing new."""

    def __init__(self, page_size: int) -> None:
        self.agreeing = 1
        """Reads of the end so far that agree on its lowest row."""
        self._page_size = page_size
        self._asked: Ask | None = None

    def next_ask(self, count: int, largest_tie: int) -> Ask:
        """Return a page that begins well before the end and reaches past it."""
        self._asked = tail_window(count, max(LEAST_ROWS, largest_tie + 1), self._page_size)
        return self._asked

    def asked(self, ask: Ask) -> bool:
        """Whether ``ask`` was this one's."""
        return ask is self._asked

    def take(self, seen: Seen, lowest: KeyRange | None) -> None:
        """Compare the end with the lowest key known so far."""
        keys = [key for key in seen.keys if key is not None]
        at_end = seen.count is not None and seen.ask.end >= seen.count and not seen.has_next
        enough = seen.count is not None and (
            seen.ask.page == 1 or seen.count - seen.ask.offset >= min(LEAST_ROWS, seen.count)
        )
        emptied = seen.count == 0
        joins = bool(keys) and lowest is not None and keys[-1] >= lowest.low and keys[0] > lowest.low
        if at_end and enough and (emptied or joins):
            self.agreeing += 1
        elif at_end:
            self.agreeing = 1
