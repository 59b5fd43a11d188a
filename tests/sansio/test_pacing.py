"""How many requests may be in flight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async._sansio.pacing import ConcurrencyLimit, is_throttling
from futureagi_async.errors import APITimeoutError, FutureAGIError, InternalServerError, RateLimitError


def test_it_begins_low_and_grows_with_every_success() -> None:
    """Without throttling the limit starts at 4 and gains one for each success, up to the most."""
    pacer = ConcurrencyLimit(8)
    limits = [pacer.limit]
    for _ in range(6):
        pacer.succeeded()
        limits.append(pacer.limit)
    assert limits == [4, 5, 6, 7, 8, 8, 8]


def test_it_begins_no_higher_than_the_most() -> None:
    """A session of one request at a time stays so."""
    assert ConcurrencyLimit(1).limit == 1


def test_throttling_takes_it_down_once_per_round_trip() -> None:
    """Several requests of one round that are throttled count as one."""
    pacer = ConcurrencyLimit(100)
    for _ in range(96):
        pacer.succeeded()
    pacer.throttled(sent_at=1.0, now=2.0)
    pacer.throttled(sent_at=1.5, now=2.1)
    assert pacer.limit == 70
    pacer.throttled(sent_at=2.5, now=3.0)
    assert pacer.limit == 49


def test_after_throttling_it_grows_by_one_a_round() -> None:
    """Once throttled, as many successes as the limit add about one."""
    pacer = ConcurrencyLimit(100)
    for _ in range(16):
        pacer.succeeded()
    pacer.throttled(sent_at=0.0, now=1.0)
    before = pacer.limit
    for _ in range(before + 1):
        pacer.succeeded()
    assert pacer.limit == before + 1


@given(st.integers(1, 64), st.lists(st.booleans(), max_size=200))
def test_the_limit_stays_between_one_and_the_most(most: int, answers: list[bool]) -> None:
    """Whatever the server answers, the limit stays within its bounds."""
    pacer = ConcurrencyLimit(most)
    for moment, good in enumerate(answers):
        if good:
            pacer.succeeded()
        else:
            pacer.throttled(sent_at=moment, now=moment + 0.5)
        assert 1 <= pacer.limit <= most


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RateLimitError("slow down", status=429), True),
        (InternalServerError("busy", status=503, retry_after=3.0), True),
        (InternalServerError("busy", status=503), False),
        (InternalServerError("bug", status=500), False),
        (APITimeoutError("late"), False),
    ],
)
def test_only_throttling_counts(error: FutureAGIError, expected: bool) -> None:
    """Slow and broken answers are no reason to send fewer."""
    assert is_throttling(error) is expected
