"""Decides whether and when a failed request is sent again, and how long a job waits during an outage."""

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
"""Number of finally failed requests in a row after which a job takes the server for dead."""
FIRST_PROBE_SECONDS = 1.0
MAX_PROBE_SECONDS = 30.0
ASKED_AGAIN = 1
"""How many times a job repeats an unanswered request while the server answers other requests."""
ASKED_AGAIN_AFTER_OUTAGES = 4
"""The same after an outage. It is limited, because this request may cause the outage."""

LOST_TRIES = 2  # a kept connection may end just when a request is sent on it (RFC 9112, 9.3.1)
GARBLED_TRIES = 2  # an answer that is not HTTP, or not JSON, twice in a row is no accident
SERVER_BUG_TRIES = 3  # the served API wraps every bug as a 500


@attrs.define
class RetryQuota:
    """A quota of retries for the whole session, so that a dead server costs tens of requests.

    A retry takes tokens, and its success returns them. A request that succeeds at once returns one token.
    """

    tokens: int = QUOTA_CAPACITY

    def take(self, error: FutureAGIError, attempt: int) -> int | None:
        """Pay for a retry after ``error``. Return its cost, or ``None`` if the quota is used up."""
        if error.retry_after is not None:
            return 0  # the server asked for patience, and gets it
        if replaces_connection(error, attempt):
            return 0
        cost = QUOTA_COST_TIMEOUT if isinstance(error, APITimeoutError) else QUOTA_COST
        if self.tokens < cost:
            return None
        self.tokens -= cost
        return cost

    def give_back(self, cost: int) -> None:
        """Return the cost of the last retry (1 if there was none) after a success."""
        self.tokens = min(QUOTA_CAPACITY, self.tokens + max(1, cost))


def replaces_connection(error: FutureAGIError, attempt: int) -> bool:
    """Whether a retry only replaces a (kept) connection that was lost without a response."""
    return isinstance(error, APIConnectionError) and error.lost and attempt < LOST_TRIES


def is_unanswered(error: FutureAGIError) -> bool:
    """Whether a request got no response, or only one from a gateway in front of the API."""
    return error.retryable and (isinstance(error, APIConnectionError) or error.status in GATEWAY_STATUSES)


def is_answered(error: FutureAGIError) -> bool:
    """Whether the API itself sent the error. A body that is not JSON may come from another server."""
    is_foreign = isinstance(error, DecodingError) and error.retryable
    return error.status is not None and error.status not in GATEWAY_STATUSES and not is_foreign


@attrs.define
class OutageDetector:
    """Detects that a server is down: many requests in a row failed with all their attempts, none succeeded.

    Without it, a job of many ids would wait for the timeout of each of them.
    """

    failures: int = 0

    @property
    def is_out(self) -> bool:
        """Whether further requests are useless now."""
        return self.failures >= OUTAGE_FAILURES

    def succeeded(self) -> None:
        """Record a success."""
        self.failures = 0

    def failed(self, error: FutureAGIError) -> None:
        """Record a failure. A response about the request itself shows that the server is alive."""
        self.failures = self.failures + 1 if is_unanswered(error) else 0


@attrs.define
class Outage:
    """An outage that a job waits for. It plans the probes."""

    answered_at: float
    """Time of the last response, or of sending the first request that was not answered."""
    max_seconds: float
    probes: int = 0
    """Number of probes without a response."""

    def probe_delay_seconds(self, now: float, jitter: float) -> float | None:
        """Seconds to wait before the next probe; ``None`` to give up.

        The pauses double from 1 s to 30 s, less up to half at random. The last probe is sent at the very end.
        """
        left = self.answered_at + self.max_seconds - now
        if left <= 0:
            return None
        doublings = min(max(0, self.probes - 1), _MAX_DOUBLINGS)
        longest = min(MAX_PROBE_SECONDS, FIRST_PROBE_SECONDS * 2.0**doublings)
        return min(left, longest * (1 + jitter) / 2)


def is_asked_again(failures: int, *, was_out: bool, optional: bool) -> bool:
    """Whether an unanswered request is sent again, now that the server answers others.

    ``failures`` is how many times it failed with all its attempts. ``was_out`` says that no other request was
    answered then either. An ``optional`` request has an alternative, and is not repeated.
    """
    if optional:
        return was_out and failures <= ASKED_AGAIN
    return failures <= (ASKED_AGAIN_AFTER_OUTAGES if was_out else ASKED_AGAIN)


def max_attempts(error: FutureAGIError, policy: RetryPolicy) -> int:
    """Return how many times a request that ends with ``error`` may be sent in total."""
    if not error.retryable:
        return 1
    if isinstance(error, DecodingError) or (isinstance(error, APIConnectionError) and error.garbled):
        return min(policy.attempts, GARBLED_TRIES)
    if isinstance(error, APIConnectionError) and error.lost:
        return max(policy.attempts, LOST_TRIES)
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
    """Seconds to wait before sending again after attempt number ``attempt``; ``None`` to give up.

    If a connection was lost without a response, a new one is tried at once, even by a policy without retries.
    ``jitter`` is a random number in [0, 1). There is no retry if its pause would take longer than
    ``seconds_left``.
    """
    if attempt >= max_attempts(error, policy):
        return None
    if replaces_connection(error, attempt):
        pause = 0.0
    elif error.retry_after is not None:
        pause = min(error.retry_after, policy.max_retry_after) + jitter
    else:
        pause = jitter * min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS))
    return pause if pause < seconds_left else None
