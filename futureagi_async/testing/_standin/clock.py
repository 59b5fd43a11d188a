"""The clock of the server (virtual or real), and times as whole microseconds since 1970."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 86_400 * SECOND_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Return an aware datetime as microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(us: int) -> datetime:
    """Return microseconds since 1970 as an aware UTC datetime. Integer addition keeps it exact."""
    return _EPOCH + timedelta(microseconds=us)


def iso_utc(us: int | None) -> str | None:
    """Return a text such as `2026-01-08T09:00:00.123456Z`. Like the vendor, it omits a zero fraction."""
    return None if us is None else iso_utc_text(us)


def iso_utc_text(us: int) -> str:
    """Return the same as `iso_utc`, for a time that is not `None`."""
    return moment_of(us).isoformat().replace("+00:00", "Z")


VIRTUAL_START = datetime(2026, 2, 2, 9, 0, 0, 250_000, tzinfo=UTC)
"""The start of virtual time: after all sample data, and not on a whole second."""

_VIRTUAL_START_SECONDS = 1000.0


class VirtualClock:
    """A clock that the server and the client can share.

    With `request_seconds > 0`, each served request advances the clock, and it stands still between requests.
    With 0, it follows the clock of the machine. `advance` advances it in both cases. It is thread-safe.
    """

    def __init__(self, request_seconds: float = 0.0) -> None:
        if request_seconds < 0:
            raise ValueError("request_seconds must not be negative")
        self.request_seconds = request_seconds
        self._lock = threading.Lock()
        self._seconds = _VIRTUAL_START_SECONDS if self.is_virtual else 0.0
        self._zero = (
            VIRTUAL_START - timedelta(seconds=_VIRTUAL_START_SECONDS)
            if self.is_virtual
            else datetime.now(UTC) - timedelta(seconds=time.monotonic())
        )
        self._zero_us = microseconds(self._zero)

    @property
    def is_virtual(self) -> bool:
        """Whether only requests and `advance` change this clock."""
        return self.request_seconds > 0

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary time. They never decrease."""
        with self._lock:
            return self._seconds + (0.0 if self.is_virtual else time.monotonic())

    def now(self) -> datetime:
        """Return the present time as an aware UTC datetime. It fits `monotonic()`."""
        return self._zero + timedelta(seconds=self.monotonic())

    def advance(self, seconds: float) -> None:
        """Advance the clock by `seconds`, without waiting."""
        if seconds < 0:
            raise ValueError("a clock can't go back: seconds must not be negative")
        with self._lock:
            self._seconds += seconds

    def microseconds_at(self, monotonic: float) -> int:
        """Return a time of `monotonic()` as microseconds since 1970, like sort keys."""
        return self._zero_us + round(monotonic * SECOND_US)
