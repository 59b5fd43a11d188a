"""Reads a list page after page, without overlap, and never reports long lists as complete."""

from math import ceil

from futureagi_async._sansio.covering.pages import (
    STANDARD_SIZES,
    Conclusion,
    ListTraits,
    PageRequest,
    PageResult,
    holds_all,
)


class FastRead:
    """Reads one list for ``consistency="fast"``, with the interface of `Cover`."""

    def __init__(self, traits: ListTraits, *, page_size: int) -> None:
        self.count: int | None = None
        self.conclusion: Conclusion | None = None
        self.requests = 0
        self.sweeps = self.gaps_repaired = 0
        self._traits = traits
        self._page_size = page_size
        self._next_page = self._last_page = 1
        self._in_flight = 0
        self._lost = 0
        self._proven = False

    def next_page(self) -> PageRequest | None:
        """Return a page to read now."""
        if self.conclusion is not None or self._next_page > self._last_page:
            return None
        self._next_page += 1
        self.requests += 1
        self._in_flight += 1
        return PageRequest(self._next_page - 1, self._page_size)

    def add_result(self, result: PageResult, *, slots_full: bool = False) -> None:
        """Process a response."""
        self._in_flight -= 1
        if result.count is not None:
            self.count = result.count
            self._last_page = max(self._last_page, ceil(result.count / self._page_size))
            self._proven = not result.undecoded and holds_all(result, self._traits, STANDARD_SIZES)
        self._settle()

    def add_failure(self, request: PageRequest, failures: int = 0) -> bool:
        """Process a failed page; there is no alternative."""
        self._in_flight -= 1
        self._lost += 1
        self._settle()
        return False

    def stop(self, reason: str) -> None:
        """Stop from outside, for instance at a deadline."""
        self.conclusion = self.conclusion or Conclusion("incomplete", reason)

    def _settle(self) -> None:
        if self._in_flight or (self._next_page <= self._last_page and self.count is not None):
            return
        if self._lost:
            pages = "1 page" if self._lost == 1 else f"{self._lost} pages"
            self.conclusion = Conclusion("incomplete", f"{pages} could not be read.")
        elif self._proven:
            self.conclusion = Conclusion("complete", "One page has the whole list.")
        else:
            self.conclusion = Conclusion("incomplete", "Completeness was not verified (consistency='fast').")
