"""Scanned key ranges: what joins, and what is missing."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from futureagi_async._sansio.covering.keyranges import KeyRanges, Span

SCANS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12)


def _ranges(scans: list[tuple[int, int]]) -> KeyRanges:
    ranges = KeyRanges()
    for low, high in scans:
        ranges.add(low, high, Span(-high, -low, 0))
    return ranges


def _covered_in_quarters(scans: list[tuple[int, int]]) -> set[int]:
    """Keys strictly inside some scan, in quarters so that ends and insides are told apart."""
    return {quarter for low, high in scans for quarter in range(4 * low + 1, 4 * high)}


@given(SCANS, st.integers(0, 20))
def test_gaps_are_exactly_the_keys_no_scan_holds_inside(scans: list[tuple[int, int]], top: int) -> None:
    """A key up to the top lies in a gap if and only if no scan holds it strictly inside."""
    gaps = _ranges(scans).gaps(-1, top)
    covered = _covered_in_quarters(scans)
    for quarter in range(-3, 4 * top + 1):
        in_gap = any(4 * gap.low <= quarter <= 4 * gap.high and quarter > -4 for gap in gaps)
        assert in_gap == (quarter not in covered), quarter / 4


@given(SCANS)
def test_order_of_scans_does_not_matter(scans: list[tuple[int, int]]) -> None:
    """The same scans in another order leave the same gaps."""
    forward, backward = _ranges(scans), _ranges(scans[::-1])
    keys = [[(gap.low, gap.high) for gap in ranges.gaps(-inf, inf)] for ranges in (forward, backward)]
    assert keys[0] == keys[1]


def test_equal_ends_do_not_join() -> None:
    """Two scans that only share an end may both miss rows of that key, so they leave a gap there."""
    ranges = _ranges([(5, 10), (0, 5)])
    assert [(gap.low, gap.high) for gap in ranges.gaps(0, 9)] == [(5, 5)]
    ranges.add(4, 6, Span(0, 0, 0))
    assert ranges.gaps(0, 9) == []


def test_an_empty_scan_adds_nothing() -> None:
    """A page that shows a single key covers no range."""
    assert _ranges([(5, 5), (7, 6)]).lowest is None
