"""How many requests may be in flight: additive increase, multiplicative decrease, on throttling alone.

Latency is no signal: pages differ so much in size that their times look like congestion.
"""

import attrs

from futureagi_async.errors import FutureAGIError, RateLimitError

START = 4
DECREASE = 0.7


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


def minute_allowance(requests_per_minute: int) -> tuple[int, float]:
    """Return how many requests may go at once, and the seconds in which so many may go again.

    The burst and the steady rate behind it together never exceed the allowance in any minute.
    """
    burst = max(1, requests_per_minute // 10)
    steady = max(1, requests_per_minute - burst)
    return burst, 60 * burst / steady
