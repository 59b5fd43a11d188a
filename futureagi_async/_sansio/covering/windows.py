"""Page arithmetic: a page begins at a multiple of its limit."""

from collections.abc import Iterable
from math import ceil

from futureagi_async._sansio.covering.pages import STANDARD_SIZES, PageRequest

_REQUEST_ROWS = 20
"""What a request costs the server besides its rows, in rows: somewhere between nothing and a page."""


def window_from(
    start: int, known_to: int, page_size: int, spread: int = STANDARD_SIZES.spread
) -> PageRequest:
    """Return a page of about ``page_size`` rows that holds offset ``start`` and brings most for its cost.

    Near the front, where few offsets exist, none may get beyond offset ``known_to``; then sizes
    from half to twice as many rows are looked at for the most new rows a row read.
    """
    usual = range(max(1, page_size * 4 // 5), max(page_size * 6 // 5, page_size + spread) + 1)
    request = max(
        _holding(start, usual),
        key=lambda request: (request.end - known_to) / (request.limit + _REQUEST_ROWS),
    )
    if request.end - known_to >= page_size // 4:
        return request
    unusual = range(max(1, page_size // 2), 2 * page_size + 1)
    return max(_holding(start, unusual), key=lambda request: (request.end - known_to) / request.limit)


def page_across(start: int, end: int) -> PageRequest:
    """Return the smallest page that begins at or before offset ``start`` and reaches to ``end``."""
    limit = max(1, end - start)
    while True:
        before = (end - 1) // limit
        if before * limit <= start:
            return PageRequest(before + 1, limit)
        limit = ceil(end / before)  # with as many pages before it, a larger one begins no earlier


def tail_window(count: int, margin: int, page_size: int) -> PageRequest:
    """Return a page from ``margin`` rows before offset ``count``, or least before that, to past it."""
    start = max(0, count - margin)
    limits = range(max(margin + 1, page_size * 4 // 5), 2 * max(margin + 1, page_size) + 1)
    reaching = [request for request in _holding(start, limits) if request.end > count]
    return max(reaching, key=lambda request: request.offset, default=PageRequest(1, count + margin))


def _holding(offset: int, limits: Iterable[int]) -> Iterable[PageRequest]:
    return (PageRequest(offset // limit + 1, limit) for limit in limits)
