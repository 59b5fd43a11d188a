"""Which page and limit show a wanted stretch of a list: offsets exist only as multiples of the limit."""

from collections.abc import Iterable

from futureagi_async._sansio.covering.lists import Ask

SMALLEST_LIMIT = 20
"""Below it, overlaps cost more than the rows."""


def window_from(start: int, known_to: int, page_size: int) -> Ask:
    """Return a page of about ``page_size`` rows that holds offset ``start`` and reaches far.

    Near the front, where few offsets exist, none may get beyond offset ``known_to``; then sizes
    from half to twice as many rows are looked at for the most new rows a row read.
    """
    usual = range(max(1, page_size * 4 // 5), max(page_size * 6 // 5, page_size + 8) + 1)
    ask = max(_holding(start, usual), key=lambda ask: ask.end)
    if ask.end - known_to >= page_size // 4:
        return ask
    unusual = range(max(1, page_size // 2), 2 * page_size + 1)
    return max(_holding(start, unusual), key=lambda ask: (ask.end - known_to) / ask.limit)


def window_around(middle: int, limit: int) -> Ask:
    """Return a page of ``limit`` rows or a few more that has an offset near its middle."""
    limits = range(limit, limit + max(8, limit // 2) + 1)
    return min(_holding(max(0, middle), limits), key=lambda ask: abs(ask.offset + ask.end - 2 * middle))


def tail_window(count: int, margin: int, page_size: int) -> Ask:
    """Return a page that begins at least ``margin`` rows before offset ``count`` and reaches past it."""
    start = max(0, count - margin)
    for limit in range(max(margin + 1, page_size * 4 // 5), 2 * max(margin + 1, page_size) + 1):
        ask = Ask(start // limit + 1, limit)
        if ask.end > count:
            return ask
    return Ask(1, count + margin)


def _holding(offset: int, limits: Iterable[int]) -> Iterable[Ask]:
    return (Ask(offset // limit + 1, limit) for limit in limits)
