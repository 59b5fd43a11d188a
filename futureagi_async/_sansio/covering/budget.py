"""What reading a list may cost: a page, and all of them."""

from math import ceil, inf

from futureagi_async._sansio.covering.pages import CoverSizes, PageRequest, PageResult
from futureagi_async._sansio.covering.places import Holes

TIMES_THE_LIST = 6
"""Reading a list may cost so many times what reading each of its rows once does."""
_REQUESTS_BESIDES = 30
"""Short lists take some requests, too."""
_PAGE_SECONDS = 30.0
"""What a page may take that nothing smaller can stand for."""


class PageBounds:
    """How many rows a page may hold, judging by what rows took so far."""

    def __init__(self, max_body_bytes: int, sizes: CoverSizes) -> None:
        self.usual = sizes.largest_limit
        """As long as there are other ways."""
        self._max_body_bytes = max_body_bytes
        self._row_bytes = 0.0
        self._row_seconds = inf
        self._failed = inf

    def note(self, result: PageResult) -> None:
        """Learn what rows take."""
        rows = len(result.keys)
        if rows:
            self._row_bytes = max(self._row_bytes, result.body_bytes / rows)
            self._row_seconds = min(self._row_seconds, (result.received_at - result.sent_at) / rows)

    def note_failure(self, rows: float) -> None:
        """Learn that a page of so many rows failed."""
        self._failed = min(self._failed, rows)

    @property
    def utmost(self) -> float:
        """Where nothing else can join what lies on both sides of a gap."""
        by_bytes = self._max_body_bytes / 2 / self._row_bytes if self._row_bytes else inf
        by_seconds = _PAGE_SECONDS / self._row_seconds if self._row_seconds > 0 else inf
        return min(max(self.usual, min(by_bytes, by_seconds)), self._failed)


class Budget:
    """The requests and rows that may be asked for in all."""

    def __init__(self, page_size: int, holes: Holes, sizes: CoverSizes) -> None:
        self.requests = 0
        self._requests_besides = _REQUESTS_BESIDES
        self._page_size = page_size
        self._holes = holes
        self._least_work = sizes.least_work
        self._rows = 0.0
        self._expected: dict[int, float] = {}
        """Rows of the pages in flight."""

    def allows(self, request: PageRequest, count: int) -> bool:
        """Whether a page may still be asked for."""
        work = max(self._holes.rows(0, count), self._least_work)
        return (
            self.requests < self.most_requests(count)
            and self._rows + self._rows_of(request) <= TIMES_THE_LIST * work
        )

    def most_requests(self, count: int) -> int:
        """Return how many requests a list of this length may take."""
        return TIMES_THE_LIST * ceil(count / self._page_size) + self._requests_besides

    def add_request(self, request: PageRequest) -> None:
        """Count a page that is asked for, by what it is expected to show."""
        self.requests += 1
        self._expected[id(request)] = rows = self._rows_of(request)
        self._rows += rows

    def add_result(self, result: PageResult) -> None:
        """Count what it showed instead."""
        self._rows += len(result.keys) - self._expected.pop(id(result.request), 0.0)

    def add_failure(self, request: PageRequest) -> None:
        """Let it count as if it had been answered: it cost the server as much."""
        self._expected.pop(id(request), None)

    def extend(self, requests: int) -> None:
        """Allow for so many more requests."""
        self._requests_besides += requests

    def _rows_of(self, request: PageRequest) -> float:
        return float(request.limit) if request.created else self._holes.rows(request.offset, request.end)
