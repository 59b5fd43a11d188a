"""Page after page, without overlap and without a second look: quick, and honest about it."""

from math import ceil

from futureagi_async._sansio.covering.pages import RUN_TEST_OVERHANG, Ask, Finding, ListTraits, Seen


class FastRead:
    """The reading of one list for ``consistency="fast"``; used like `Cover`."""

    def __init__(self, traits: ListTraits, *, page_size: int) -> None:
        self.count: int | None = None
        self.finding: Finding | None = None
        self.requests = 0
        self.sweeps = self.gaps_repaired = self.overlapping_rows = 0
        self._traits = traits
        self._page_size = page_size
        self._next_page = self._last_page = 1
        self._in_flight = 0
        self._lost = 0
        self._proven = False

    def next_ask(self) -> Ask | None:
        """Return a page to read now."""
        if self.finding is not None or self._next_page > self._last_page:
            return None
        self._next_page += 1
        self.requests += 1
        self._in_flight += 1
        return Ask(self._next_page - 1, self._page_size)

    def take(self, seen: Seen, *, crowded: bool = False) -> None:
        """Take an answer into account."""
        self._in_flight -= 1
        if seen.count is not None:
            self.count = seen.count
            self._last_page = max(self._last_page, ceil(seen.count / self._page_size))
            overhangs = seen.ask.end >= seen.count + RUN_TEST_OVERHANG
            self._proven = (
                seen.ask.page == 1 and overhangs and not self._traits.counted_first and not seen.undecoded
            )
        self._settle()

    def lose(self, ask: Ask) -> bool:
        """Take into account that a page could not be read; there is no other way."""
        self._in_flight -= 1
        self._lost += 1
        self._settle()
        return False

    def stop(self, reason: str) -> None:
        """End the reading from outside, for instance at a deadline."""
        self.finding = self.finding or Finding("incomplete", reason)

    def _settle(self) -> None:
        if self._in_flight or (self._next_page <= self._last_page and self.count is not None):
            return
        if self._lost:
            self.finding = Finding("incomplete", f"{self._lost} pages could not be read.")
        elif self._proven:
            self.finding = Finding("complete", "One page held the whole list.")
        else:
            self.finding = Finding("incomplete", "Read without proof (consistency='fast').")
