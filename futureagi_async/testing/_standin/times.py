"""Moments as whole microseconds since 1970: exact, ordered, and cheap to compare."""

from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 86_400 * SECOND_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Return the aware `moment` as microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(us: int) -> datetime:
    """Return the aware UTC datetime of `us`; adding integers keeps it exact where a float would round."""
    return _EPOCH + timedelta(microseconds=us)


def iso_utc(us: int | None) -> str | None:
    """`2026-01-08T09:00:00.123456Z`; the fraction is absent when it is zero, as the vendor writes it."""
    return None if us is None else iso_utc_text(us)


def iso_utc_text(us: int) -> str:
    """As `iso_utc`, for a moment that is there."""
    return moment_of(us).isoformat().replace("+00:00", "Z")
