"""Whether, and when, to send a failed request again: questions answered without a clock."""

import attrs

from futureagi_async._sansio.replies import GATEWAY_STATUSES
from futureagi_async.errors import (
    APIConnectionError,
    APITimeoutError,
    DecodingError,
    FutureAGIError,
    InternalServerError,
)
from futureagi_async.options import RetryPolicy

QUOTA_CAPACITY = 500
QUOTA_COST = 5
QUOTA_COST_TIMEOUT = 10

_MAX_DOUBLINGS = 64  # keeps the pause a number; it reached max_delay long before

OUTAGE_FAILURES = 100
"""Requests in a row that failed for good before a job takes the server for dead."""

GARBLED_TRIES = 2  # an answer that is not HTTP, or not JSON, twice in a row is no accident
SERVER_BUG_TRIES = 3  # the served API wraps every bug as a 500


@attrs.define
class RetryQuota:
    """Tokens that retries of a whole session cost, so that a dead server costs tens of requests.

    A retry takes some and its success returns them; a request that succeeds at once returns one.
    """

    tokens: int = QUOTA_CAPACITY

    def take(self, error: FutureAGIError) -> int | None:
        """Pay for a retry after ``error``: what it cost, or ``None`` where the quota is used up."""
        if error.retry_after is not None:
            return 0  # the server asked for patience, and gets it
        cost = QUOTA_COST_TIMEOUT if isinstance(error, APITimeoutError) else QUOTA_COST
        if self.tokens < cost:
            return None
        self.tokens -= cost
        return cost

    def give_back(self, cost: int) -> None:
        """Return what the last retry cost (1 for none) after a success."""
        self.tokens = min(QUOTA_CAPACITY, self.tokens + max(1, cost))


@attrs.define
class OutageDetector:
    """Notices that a server is out: many requests in a row failed, with all their tries, and none succeeded.

    Without it, a job of many ids would wait for each of them to time out.
    """

    failures: int = 0

    @property
    def is_out(self) -> bool:
        """Whether asking on is of no use now."""
        return self.failures >= OUTAGE_FAILURES

    def succeeded(self) -> None:
        """Take a success into account."""
        self.failures = 0

    def failed(self, error: FutureAGIError) -> None:
        """Take a failure into account; an answer about the request itself shows that the server lives."""
        is_trouble = error.retryable and (
            isinstance(error, APIConnectionError) or error.status in GATEWAY_STATUSES
        )
        self.failures = self.failures + 1 if is_trouble else 0


def max_tries(error: FutureAGIError, policy: RetryPolicy) -> int:
    """How often a request that ends in ``error`` may be sent in all."""
    if not error.retryable:
        return 1
    if isinstance(error, DecodingError) or (isinstance(error, APIConnectionError) and error.garbled):
        return min(policy.attempts, GARBLED_TRIES)
    if isinstance(error, InternalServerError) and error.status == 500:
        return min(policy.attempts, SERVER_BUG_TRIES)
    return policy.attempts


def retry_delay_seconds(
    error: FutureAGIError,
    *,
    attempt: int,
    policy: RetryPolicy,
    seconds_left: float,
    jitter: float,
) -> float | None:
    """Seconds to wait before sending again after the ``attempt``-th try, ``None`` to give up.

    ``jitter`` is a random number in [0, 1). A pause that would outlast ``seconds_left`` is not begun.
    """
    if attempt >= max_tries(error, policy):
        return None
    if error.retry_after is not None:
        pause = min(error.retry_after, policy.max_retry_after) + jitter
    else:
        pause = jitter * min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS))
    return pause if pause < seconds_left else None
