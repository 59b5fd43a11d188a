"""The tail read: believes the end of a list only when a later read shows nothing below it.

Where a list is counted before its rows are read, a row that enters in between pushes the oldest row
off the end, and "no next page" proves nothing.
"""

from futureagi_async._sansio.keyranges import KeyRange
from futureagi_async._sansio.lists import Ask, Seen
from futureagi_async._sansio.windows import tail_window

LEAST_ROWS = 10
"""How far before the end the read begins, at least: as many entries may fall between two statements."""


class TailRead:
    """Reads the end again, until it shows nothing new."""

    def __init__(self, page_size: int) -> None:
        self.confirmed = False
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
        self.confirmed = at_end and enough and (emptied or joins)
