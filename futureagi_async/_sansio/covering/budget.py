"""Limits of the cost of reading a list: for one page, and in total."""

from math import ceil, inf

from futureagi_async._sansio.covering.pages import CoverSizes, PageRequest, PageResult
from futureagi_async._sansio.covering.places import Holes

TIMES_THE_LIST = 6
"""Maximum cost of reading a list, as a multiple of reading each of its rows once."""
_REQUESTS_BESIDES = 30
"""Additional requests, for short lists."""
_PAGE_SECONDS = 30.0
"""Maximum rows of a page if no smaller page can replace it."""


class PageBounds:
    """Maximum number of rows per page, based on the response times so far."""

    def __init__(self, max_body_bytes: int, sizes: CoverSizes) -> None:
        self.usual = sizes.largest_limit
        """The limit while there are alternatives."""
        self._max_body_bytes = max_body_bytes
        self._row_bytes = 0.0
        self._row_seconds = inf
        self._failed = inf

    def note(self, result: PageResult) -> None:
        """Record how long rows take."""
        rows = len(result.keys)
        if rows:
            self._row_bytes = max(self._row_bytes, result.body_bytes / rows)
            self._row_seconds = min(self._row_seconds, (result.received_at - result.sent_at) / rows)

    def note_failure(self, rows: float) -> None:
        """Record that a page of this number of rows failed."""
        self._failed = min(self._failed, rows)

    @property
    def utmost(self) -> float:
        """The limit if nothing else can join both sides of a gap."""
        by_bytes = self._max_body_bytes / 2 / self._row_bytes if self._row_bytes else inf
        by_seconds = _PAGE_SECONDS / self._row_seconds if self._row_seconds > 0 else inf
        return min(max(self.usual, min(by_bytes, by_seconds)), self._failed)


class Budget:
    """The total number of requests and rows that may be requested."""

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
        """Whether another page may be requested."""
        work = max(self._holes.rows(0, count), self._least_work)
        return (
            self.requests < self.most_requests(count)
            and self._rows + self._rows_of(request) <= TIMES_THE_LIST * work
        )

    def most_requests(self, count: int) -> int:
        """Return the maximum number of requests for a list of this length."""
        return TIMES_THE_LIST * ceil(count / self._page_size) + self._requests_besides

    def add_request(self, request: PageRequest) -> None:
        """Record a requested page, by its expected number of rows."""
        self.requests += 1
        self._expected[id(request)] = rows = self._rows_of(request)
        self._rows += rows

    def add_result(self, result: PageResult) -> None:
        """Record the actual number of rows."""
        self._rows += len(result.keys) - self._expected.pop(id(result.request), 0.0)

    def add_failure(self, request: PageRequest) -> None:
        """Count a failed page like an answered one: it cost the server as much."""
        self._expected.pop(id(request), None)

    def extend(self, requests: int) -> None:
        """Allow this number of additional requests."""
        self._requests_besides += requests

    def _rows_of(self, request: PageRequest) -> float:
        return float(request.limit) if request.created else self._holes.rows(request.offset, request.end)
