"""The server's clock, virtual or the machine's, and moments as whole microseconds since 1970."""

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


VIRTUAL_START = datetime(2026, 2, 2, 9, 0, 0, 250_000, tzinfo=UTC)
"""Where virtual time begins: after all sample data, and not on a whole second."""

_VIRTUAL_START_SECONDS = 1000.0


class VirtualClock:
    """A clock to hand to server and client alike, so that both live in the same time.

    With `request_seconds > 0` it stands still between requests and each served request moves it on;
    with 0 it follows the machine. `advance` moves it by hand in either case. Safe from any thread.
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
        """Whether only requests and `advance` move this clock."""
        return self.request_seconds > 0

    def monotonic(self) -> float:
        """Seconds that never go back; the zero point means nothing."""
        with self._lock:
            return self._seconds + (0.0 if self.is_virtual else time.monotonic())

    def now(self) -> datetime:
        """Return the aware UTC date and time that belongs to `monotonic()`."""
        return self._zero + timedelta(seconds=self.monotonic())

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once: a wait that costs no time."""
        if seconds < 0:
            raise ValueError("a clock does not go back")
        with self._lock:
            self._seconds += seconds

    def microseconds_at(self, monotonic: float) -> int:
        """Return the `monotonic()` reading as microseconds since 1970, as sort keys are written."""
        return self._zero_us + round(monotonic * SECOND_US)
