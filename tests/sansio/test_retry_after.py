"""How long a server asks to wait, in seconds or as a date on its own clock."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async._sansio.replies import Reply, retry_after

NOW = datetime(2026, 1, 8, 9, 0, tzinfo=UTC)


def wait(text: str, date: str | None = format_datetime(NOW, usegmt=True)) -> float | None:
    """Read a Retry-After header, by the server's own clock."""
    headers = {"retry-after": text}
    return retry_after(Reply(429, headers if date is None else {**headers, "date": date}, b""))


SECONDS = {
    "0": 0.0,
    "5": 5.0,
    " 60 ": 60.0,
    "1.5": 1.5,
    "0.000001": 0.000001,
    "99999999999": 99999999999.0,
    "": None,
    "-3": None,
    "+3": None,
    "1e3": None,
    "inf": None,
    "nan": None,
    "0x10": None,
    "1.": None,
    ".5": None,
    "1_0": None,
    "5 seconds": None,
    "5, 6": None,
    "\u0663": None,
    "9" * 5000: None,
    "soon": None,
}


@pytest.mark.parametrize("text", SECONDS, ids=lambda text: text[:20] or "empty")
def test_retry_after_in_seconds(text: str) -> None:
    """Plain decimal seconds are read; signs, exponents, words and absurd lengths are not."""
    assert wait(text) == SECONDS[text]


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (NOW + timedelta(seconds=30), 30.0),
        (NOW, 0.0),
        (NOW - timedelta(days=400), 0.0),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 251_634_437_999.0),
    ],
)
def test_retry_after_as_a_date(moment: datetime, seconds: float) -> None:
    """A date counts from the answer's own Date header, whatever our clock shows; the past means now."""
    assert wait(format_datetime(moment, usegmt=True)) == seconds


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("Thu, 08 Jan 2026 09:00:30 GMT", None),
        ("Thu, 08 Jan 2026 09:00:30 GMT", "yesterday"),
        ("Thu, 08 Jan 2026 09:00:30 -0000", "Thu, 08 Jan 2026 09:00:00 GMT"),
        ("Thu, 08 Jan 2026 25:00:30 GMT", "Thu, 08 Jan 2026 09:00:00 GMT"),
        ("Fri, 31 Dec 99999 23:59:59 GMT", "Thu, 08 Jan 2026 09:00:00 GMT"),
        ("Thu, 01 Jan 1970 00:00:00 +99999999", "Thu, 08 Jan 2026 09:00:00 GMT"),
        ("2026-01-08T09:00:30Z", "Thu, 08 Jan 2026 09:00:00 GMT"),
    ],
)
def test_unusable_dates_are_left_out(text: str, date: str | None) -> None:
    """Without two dates with zones there is no time to wait, and no crash."""
    assert wait(text, date) is None


DATE_LIKE = st.text("0123456789 ,:+-.GMTJanThuDec", max_size=40)


@given(text=st.text(max_size=40) | DATE_LIKE, date=st.none() | DATE_LIKE)
def test_any_retry_after_gives_a_wait_or_none(text: str, date: str | None) -> None:
    """Whatever the headers hold, the wait is none or not negative, and reading them does not fail."""
    seconds = wait(text, date)
    assert seconds is None or seconds >= 0


@given(st.integers(0, 10**9))
def test_dates_and_seconds_agree(seconds: int) -> None:
    """The same wait comes out of both spellings."""
    as_date = wait(format_datetime(NOW + timedelta(seconds=seconds), usegmt=True))
    assert as_date == wait(str(seconds)) == seconds
