"""Limits: concurrent requests, and requests per minute.

Concurrency follows additive increase and multiplicative decrease, on throttling only. Latency is not used,
because pages differ so much in size that their response times would look like congestion.
"""

from collections import deque

import attrs

from futureagi_async.budgets import Lease
from futureagi_async.errors import FutureAGIError, RateLimitError

START = 4
DECREASE = 0.7

LEASE_SECONDS = 2.0
"""A lease lapses this long after it was requested."""
IDLE_SECONDS = 1.0
"""After this long without a request, the rest of a lease is given back."""
LATE_SECONDS = 0.5
"""Requests that lapsed longer ago, as in a suspended process, are not given back."""
LATE_LEASES = 3
"""After this number of lapsed leases in a row, a budget counts as too slow."""

_ROUNDING = 1e-6  # of a request; far less than what the margin of a window holds


@attrs.define
class ConcurrencyLimit:
    """Finds how many concurrent requests the server accepts, up to ``most``.

    It starts low and grows by one for each success until the server throttles. After that it grows by one for
    each round of successes. A throttled response reduces the limit once per round trip: responses to requests
    that were sent before the last reduction do not count.
    """

    most: int
    _limit: float = attrs.field(init=False)
    _throttled_at: float = attrs.field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        self._limit = float(min(START, self.most))

    @property
    def limit(self) -> int:
        """Maximum number of concurrent requests at present, at least 1."""
        return int(self._limit)

    def succeeded(self) -> None:
        """Record a success."""
        step = 1.0 if self._throttled_at == float("-inf") else 1.0 / self._limit
        self._limit = min(float(self.most), self._limit + step)

    def throttled(self, *, sent_at: float, now: float) -> None:
        """Record a throttled response."""
        if sent_at < self._throttled_at:
            return
        self._limit = max(1.0, self._limit * DECREASE)
        self._throttled_at = now


def is_throttling(error: FutureAGIError) -> bool:
    """Whether an error means too many requests: 429, or 503 with ``Retry-After``."""
    return isinstance(error, RateLimitError) or (error.status == 503 and error.retry_after is not None)


@attrs.define
class MinuteAllowance:
    """Grants at most ``requests_per_minute`` requests in any 60 seconds.

    A token bucket: it holds ``burst`` tokens and fills evenly, so that it grants at most the allowance in a
    minute plus ``hold_seconds``. Every request that is sent within a minute was granted within that time.
    Requests that are given back later than ``hold_seconds`` are lost; so are those that exceed the grants of
    that time.
    """

    requests_per_minute: int
    burst: int
    """Maximum number of requests at once."""
    hold_seconds: float
    """Maximum seconds from a grant until the request is sent, or given back and sent by another session."""
    now: float
    begins_empty: bool = False
    """Start without tokens: a replacement of a lost budget does not know what that one granted."""
    _seconds_each: float = attrs.field(init=False)
    _tokens: float = attrs.field(init=False)
    _held: deque[tuple[float, int]] = attrs.field(init=False, factory=deque)
    """The grants of the last ``hold_seconds``."""
    _held_count: int = attrs.field(init=False, default=0)
    _paused_until: float = attrs.field(init=False, default=float("-inf"))

    def __attrs_post_init__(self) -> None:
        evenly = self.requests_per_minute - self.burst + 1  # the last of them comes when the time is over
        self._seconds_each = (60 + self.hold_seconds) / evenly
        self._tokens = 0.0 if self.begins_empty else float(self.burst)

    def lease(self, most: int, now: float) -> Lease:
        """Grant up to ``most`` requests, or none and the seconds until there will be one."""
        self._advance(now)
        if (pause := self._paused_until - now) > 0:
            return Lease(0, pause)
        granted = min(most, int(self._tokens + _ROUNDING))
        if granted < 1:
            return Lease(0, (1 - self._tokens) * self._seconds_each)
        self._tokens -= granted
        self._held.append((now, granted))
        self._held_count += granted
        return Lease(granted)

    def give_back(self, unused: int, now: float) -> None:
        """Take back requests that were granted in the last ``hold_seconds``; older ones are lost."""
        self._advance(now)
        returned = min(unused, self._held_count)
        self._held_count -= returned
        self._tokens += returned
        while returned:
            granted_at, count = self._held.popleft()
            if count > returned:
                self._held.appendleft((granted_at, count - returned))
            returned -= min(count, returned)

    def pause(self, seconds: float, now: float) -> None:
        """Grant nothing for so many seconds."""
        self._paused_until = max(self._paused_until, now + seconds)

    def _advance(self, now: float) -> None:
        passed, self.now = now - self.now, now
        self._tokens = min(float(self.burst), self._tokens + passed / self._seconds_each)
        while self._held and self._held[0][0] <= now - self.hold_seconds:
            self._held_count -= self._held.popleft()[1]


@attrs.define
class HeldLease:
    """The unused rest of a session's lease."""

    unused: int = 0
    _lapses_at: float = float("-inf")
    _used_at: float = float("-inf")

    def begin(self, granted: int, asked_at: float, now: float) -> None:
        """Start a new lease. The previous one must be used up or given back."""
        self.unused, self._lapses_at, self._used_at = granted, asked_at + LEASE_SECONDS, now

    def has_lapsed(self, now: float) -> bool:
        """Whether the lease is too old to send a request."""
        return now >= self._lapses_at

    def use(self, now: float) -> bool:
        """Use one request of the lease. Return whether there was one."""
        if not self.unused or self.has_lapsed(now):
            return False
        self.unused -= 1
        self._used_at = now
        return True

    def kept_seconds(self, now: float) -> float:
        """Seconds to keep the rest if no request comes."""
        return min(self._used_at + IDLE_SECONDS, self._lapses_at) - now

    def drop(self, now: float) -> int:
        """Drop the lease. Return how many requests to give back; 0 if it is too late."""
        unused, self.unused = self.unused, 0
        return unused if now < self._lapses_at + LATE_SECONDS else 0
