"""The events that a session sends to its observers. They contain no keys, bodies or query strings.

An observer is any callable that takes one `Event`. It runs in the event loop, so it must return quickly.

``source`` is the source that you passed to the read, including its search text and filters.
"""

from collections.abc import Callable
from typing import TypeAlias

import attrs

from futureagi_async.models import ExecutionState, Verdict
from futureagi_async.sources import CallSource


def _request_number() -> int:
    """Number of the request in its session. It distinguishes requests of one path; `==` ignores it."""
    return attrs.field(default=0, eq=False)


@attrs.define(frozen=True, kw_only=True)
class RequestSent:
    """An attempt of a request is about to be sent."""

    endpoint: str
    """The path template, such as ``/simulate/call-executions/{call_execution_id}/``."""
    path: str
    attempt: int
    request_number: int = _request_number()
    server_address: str = attrs.field(default="", eq=False)
    server_port: int = attrs.field(default=0, eq=False)


@attrs.define(frozen=True, kw_only=True)
class ResponseReceived:
    """A response arrived for an attempt, with a good or an error status."""

    endpoint: str
    path: str
    attempt: int
    status: int
    request_id: str | None
    seconds: float
    body_bytes: int
    request_number: int = _request_number()


@attrs.define(frozen=True, kw_only=True)
class RetryPlanned:
    """An attempt failed, and another one follows after a pause."""

    endpoint: str
    path: str
    attempt: int
    error: str
    """The class name of the error."""
    delay_seconds: float
    request_number: int = _request_number()


@attrs.define(frozen=True, kw_only=True)
class SessionPaused:
    """The server asked the client to wait. The session sends no request for ``delay_seconds``."""

    delay_seconds: float


@attrs.define(frozen=True, kw_only=True)
class RequestFailed:
    """A request failed, and no further attempt follows."""

    endpoint: str
    path: str
    attempts: int
    error: str
    status: int | None
    request_id: str | None
    request_number: int = _request_number()


@attrs.define(frozen=True, kw_only=True)
class RequestCancelled:
    """The caller cancelled a request, or closed the session; the request was in flight or still waiting."""

    endpoint: str
    path: str
    request_number: int = _request_number()


@attrs.define(frozen=True, kw_only=True)
class OutageBegan:
    """The server stopped answering during a bulk read, which now waits and sends probes."""

    error: str
    """The class name of the last request's error."""
    status: int | None
    """The status from a gateway in front of the API, if one answered."""
    seconds: float
    """Seconds since the last response."""
    max_outage: float
    """Seconds without a response after which the read gives up."""


@attrs.define(frozen=True, kw_only=True)
class ProbePlanned:
    """During an outage, a bulk read sends one probe after a pause."""

    delay_seconds: float


@attrs.define(frozen=True, kw_only=True)
class OutageEnded:
    """An outage ended: the server answers again, or the bulk read gave up or was cancelled."""

    answered: bool
    """Whether the server answers again."""
    seconds: float
    """Seconds since the last response before the outage."""
    probes: int
    """Number of probes without a response."""


@attrs.define(frozen=True, kw_only=True)
class PageArrived:
    """A page of a bulk read arrived and was decoded."""

    source: CallSource
    page: int
    """Page number, from 1."""
    limit: int
    """Requested number of rows."""
    records: int
    """Records on the page that had not arrived before."""
    count: int
    """The length of the list, as the server reported it."""


@attrs.define(frozen=True, kw_only=True)
class VerdictReached:
    """A bulk read has finished a source."""

    source: CallSource
    verdict: Verdict
    reason: str
    received: int


@attrs.define(frozen=True, kw_only=True)
class ExecutionChecked:
    """`Session.wait_for_execution` or `Session.watch_calls` checked a test execution."""

    state: ExecutionState
    delay_seconds: float
    """Seconds until the next check; 0 if there is none."""


Event: TypeAlias = (
    RequestSent
    | ResponseReceived
    | RetryPlanned
    | SessionPaused
    | RequestFailed
    | RequestCancelled
    | OutageBegan
    | ProbePlanned
    | OutageEnded
    | PageArrived
    | VerdictReached
    | ExecutionChecked
)
Observer: TypeAlias = Callable[[Event], None]
