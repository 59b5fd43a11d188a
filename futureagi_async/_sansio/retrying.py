"""Decides whether and when a failed request is sent again, and how long a job waits out an outage."""

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
FIRST_PROBE_SECONDS = 1.0
MAX_PROBE_SECONDS = 30.0
ASKED_AGAIN = 1
"""How often a job sends a request again that nobody answered, although another was answered just then."""
ASKED_AGAIN_AFTER_OUTAGES = 4
"""How often where the server was out: there is an end to it, as it may be this request that takes it down."""

LOST_TRIES = 2  # a kept connection may end just when a request is sent on it (RFC 9112, 9.3.1)
GARBLED_TRIES = 2  # an answer that is not HTTP, or not JSON, twice in a row is no accident
SERVER_BUG_TRIES = 3  # the served API wraps every bug as a 500


@attrs.define
class RetryQuota:
    """Tokens that retries of a whole session cost, so that a dead server costs tens of requests.

    A retry takes some and its success returns them; a request that succeeds at once returns one.
    """

    tokens: int = QUOTA_CAPACITY

    def take(self, error: FutureAGIError, attempt: int) -> int | None:
        """Pay for a retry after ``error``: what it cost, or ``None`` where the quota is used up."""
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
        """Return what the last retry cost (1 for none) after a success."""
        self.tokens = min(QUOTA_CAPACITY, self.tokens + max(1, cost))


def replaces_connection(error: FutureAGIError, attempt: int) -> bool:
    """Whether a retry only replaces a connection that was lost unanswered, as happens to kept ones."""
    return isinstance(error, APIConnectionError) and error.lost and attempt < LOST_TRIES


def is_unanswered(error: FutureAGIError) -> bool:
    """Whether a request reached nobody, or only a gateway in front of the API."""
    return error.retryable and (isinstance(error, APIConnectionError) or error.status in GATEWAY_STATUSES)


def is_answered(error: FutureAGIError) -> bool:
    """Whether the API itself answered with the error; what is no JSON may be anybody's."""
    is_foreign = isinstance(error, DecodingError) and error.retryable
    return error.status is not None and error.status not in GATEWAY_STATUSES and not is_foreign


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
        self.failures = self.failures + 1 if is_unanswered(error) else 0


@attrs.define
class Outage:
    """A time without answers that a job waits out, asking now and then whether it is over."""

    answered_at: float
    """When the last answer came, or the first request was sent that nobody answered."""
    max_seconds: float
    probes: int = 0
    """Requests that asked whether it is over, in vain."""

    def probe_delay_seconds(self, now: float, jitter: float) -> float | None:
        """Seconds to wait before the next probe, ``None`` to give up.

        The pauses double from 1 s to 30 s, less up to half at random; the last probe is sent at the very end.
        """
        left = self.answered_at + self.max_seconds - now
        if left <= 0:
            return None
        doublings = min(max(0, self.probes - 1), _MAX_DOUBLINGS)
        longest = min(MAX_PROBE_SECONDS, FIRST_PROBE_SECONDS * 2.0**doublings)
        return min(left, longest * (1 + jitter) / 2)


def is_asked_again(failures: int, *, was_out: bool, optional: bool) -> bool:
    """Whether a request that nobody answered is sent again, now that the server answers others.

    ``failures`` counts how often it failed with all its tries; ``was_out`` says that no other was answered
    then either. What is ``optional`` has another way, and gets no second try for its own sake.
    """
    if optional:
        return was_out and failures <= ASKED_AGAIN
    return failures <= (ASKED_AGAIN_AFTER_OUTAGES if was_out else ASKED_AGAIN)


def max_attempts(error: FutureAGIError, policy: RetryPolicy) -> int:
    """How often a request that ends in ``error`` may be sent in all."""
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
    """Seconds to wait before sending again after the ``attempt``-th try, ``None`` to give up.

    Where a connection was lost unanswered, a new one is tried at once, and by a policy without retries, too.
    ``jitter`` is a random number in [0, 1). A pause that would outlast ``seconds_left`` is not begun.
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
