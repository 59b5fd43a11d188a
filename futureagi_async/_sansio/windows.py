"""Which page and limit show a wanted stretch of a list: offsets exist only as multiples of the limit."""

from collections.abc import Iterable

from futureagi_async._sansio.lists import Ask

SMALLEST_LIMIT = 20
"""Below it, overlaps cost more than the rows."""


def window_limits(page_size: int) -> range:
    """Return the limits that a window of about ``page_size`` rows may have."""
    return range(max(1, page_size * 4 // 5), max(page_size * 6 // 5, page_size + 8) + 1)


def window_from(start: int, page_size: int) -> Ask:
    """Return the page that holds offset ``start`` and reaches furthest behind it."""
    return max(_holding(start, window_limits(page_size)), key=lambda ask: ask.end)


def window_around(middle: int, limit: int) -> Ask:
    """Return a page of ``limit`` rows or a few more that has an offset near its middle."""
    limits = range(limit, limit + max(8, limit // 2) + 1)
    return min(_holding(max(0, middle), limits), key=lambda ask: abs(ask.offset + ask.end - 2 * middle))


def tail_window(count: int, margin: int, page_size: int) -> Ask:
    """Return a page that begins at least ``margin`` rows before the end and reaches past it."""
    start = max(0, count - margin)
    for limit in range(max(margin + 1, page_size * 4 // 5), 2 * max(margin + 1, page_size) + 1):
        ask = Ask(start // limit + 1, limit)
        if ask.end > count:
            return ask
    return Ask(1, count + margin)


def _holding(offset: int, limits: Iterable[int]) -> Iterable[Ask]:
    return (Ask(offset // limit + 1, limit) for limit in limits)
