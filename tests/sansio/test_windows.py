"""Windows: pages whose offsets are multiples of their limit."""

from hypothesis import given
from hypothesis import strategies as st

from futureagi_async._sansio.covering.windows import tail_window, window_from

SIZES = st.integers(20, 400)
OFFSETS = st.integers(0, 200_000)


@given(SIZES, OFFSETS, st.integers(1, 240))
def test_a_window_holds_its_start_and_gets_further(page_size: int, known_to: int, overlap: int) -> None:
    """A window begins at or before the wanted offset and shows rows that were not known yet."""
    start = max(0, known_to - min(overlap, page_size * 3 // 5))
    ask = window_from(start, known_to, page_size)
    assert ask.offset <= start < ask.end
    assert ask.end > known_to
    assert page_size // 2 <= ask.limit <= 2 * page_size


@given(SIZES, OFFSETS)
def test_far_from_the_front_windows_waste_little(page_size: int, known_to: int) -> None:
    """With the usual overlap of a tenth, a window far inside brings at least a quarter of a page."""
    known_to += 40 * page_size
    ask = window_from(known_to - page_size // 10, known_to, page_size)
    assert ask.end - known_to >= page_size // 4


def test_most_windows_bring_two_thirds_of_a_page() -> None:
    """Less comes at fewer than one offset in a hundred."""
    brought = [
        window_from(known_to - size // 10, known_to, size).end - known_to - size * 2 // 3
        for size in (20, 40, 100)
        for known_to in range(40 * size, 40 * size + 2_000)
    ]
    assert sum(more < 0 for more in brought) < len(brought) / 100


@given(st.integers(0, 100_000), st.integers(0, 300), SIZES)
def test_a_tail_begins_before_the_end_and_reaches_past_it(count: int, margin: int, page_size: int) -> None:
    """The tail holds the last rows of the list, with the margin before them."""
    ask = tail_window(count, margin, page_size)
    assert ask.offset <= max(0, count - margin)
    assert ask.end > count
