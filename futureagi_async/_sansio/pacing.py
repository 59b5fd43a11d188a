"""How many requests may be in flight, and how many sent in a minute.

In flight: additive increase, multiplicative decrease, on throttling alone. Latency is no signal: pages differ
so much in size that their times look like congestion.
"""

from collections import deque

import attrs

from futureagi_async.budgets import Lease
from futureagi_async.errors import FutureAGIError, RateLimitError

START = 4
DECREASE = 0.7

LEASE_SECONDS = 2.0
"""A request is sent at most so long after it was asked for, or its lease lapses."""
IDLE_SECONDS = 1.0
"""What is left of a lease goes back after so long without a request."""
LATE_SECONDS = 0.5
"""What lapsed longer ago, in a process that was suspended, is not given back."""
LATE_LEASES = 3
"""So many answers in a row that came when they had lapsed show that a budget is too slow."""

_ROUNDING = 1e-6  # of a request; far less than what the margin of a window holds


@attrs.define
class ConcurrencyLimit:
    """Finds how many requests at once the server takes, up to ``most``.

    It begins low and grows by one for each success, as long as the server never throttled; after
    that by one for each round of successes. A throttled answer takes it down once per round trip:
    those that were sent before the last step down do not count again.
    """

    most: int
    _limit: float = attrs.field(init=False)
    _throttled_at: float = attrs.field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        self._limit = float(min(START, self.most))

    @property
    def limit(self) -> int:
        """How many may be in flight now, at least 1."""
        return int(self._limit)

    def succeeded(self) -> None:
        """Take a success into account."""
        step = 1.0 if self._throttled_at == float("-inf") else 1.0 / self._limit
        self._limit = min(float(self.most), self._limit + step)

    def throttled(self, *, sent_at: float, now: float) -> None:
        """Take an answer into account that asked for fewer requests."""
        if sent_at < self._throttled_at:
            return
        self._limit = max(1.0, self._limit * DECREASE)
        self._throttled_at = now


def is_throttling(error: FutureAGIError) -> bool:
    """Whether an error says that there are too many requests: 429, or 503 with ``Retry-After``."""
    return isinstance(error, RateLimitError) or (error.status == 503 and error.retry_after is not None)


@attrs.define
class MinuteAllowance:
    """Grants requests so that never more than ``requests_per_minute`` are sent in any 60 seconds.

    A bucket of tokens: it holds ``burst`` and fills evenly, so that it grants at most the allowance in a
    minute and ``hold_seconds``. What is sent in a minute, or granted again after it was given back, was
    granted in so long. What comes back later is lost, as is what exceeds the grants of that time.
    """

    requests_per_minute: int
    burst: int
    """How many may go at once."""
    hold_seconds: float
    """A request arrives, or comes back and arrives as another's, less than so long after it was granted."""
    now: float
    begins_empty: bool = False
    """As the successor of one that was lost must: nobody knows what that has just granted."""
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
        """Grant up to ``most`` requests; where there is none, say when there will be one."""
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
        """Take back requests that were granted in the last ``hold_seconds``; of others it is too late."""
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
        """Grant nothing for so long."""
        self._paused_until = max(self._paused_until, now + seconds)

    def _advance(self, now: float) -> None:
        passed, self.now = now - self.now, now
        self._tokens = min(float(self.burst), self._tokens + passed / self._seconds_each)
        while self._held and self._held[0][0] <= now - self.hold_seconds:
            self._held_count -= self._held.popleft()[1]


@attrs.define
class HeldLease:
    """What a session holds of a budget: the rest of its last lease."""

    unused: int = 0
    _lapses_at: float = float("-inf")
    _used_at: float = float("-inf")

    def begin(self, granted: int, asked_at: float, now: float) -> None:
        """Hold a new lease; the last one is used up or given back."""
        self.unused, self._lapses_at, self._used_at = granted, asked_at + LEASE_SECONDS, now

    def has_lapsed(self, now: float) -> bool:
        """Whether it is too late to send a request on it."""
        return now >= self._lapses_at

    def use(self, now: float) -> bool:
        """Take a request of it, if there is one that may still be sent."""
        if not self.unused or self.has_lapsed(now):
            return False
        self.unused -= 1
        self._used_at = now
        return True

    def kept_seconds(self, now: float) -> float:
        """How long to keep what is left if no request comes."""
        return min(self._used_at + IDLE_SECONDS, self._lapses_at) - now

    def drop(self, now: float) -> int:
        """Hold none any more; return how many to give back, none if it is too late."""
        unused, self.unused = self.unused, 0
        return unused if now < self._lapses_at + LATE_SECONDS else 0
