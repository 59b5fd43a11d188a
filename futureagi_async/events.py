"""What a session tells its observers: frozen values without keys, bodies or query strings.

A ``source`` is the one that was given, with what it searches and filters for.

An observer is any callable that takes one `Event`; it runs in the event loop and should be quick.
"""

from collections.abc import Callable
from typing import TypeAlias

import attrs

from futureagi_async.models import ExecutionState, Verdict
from futureagi_async.sources import CallSource


def _request_number() -> int:
    """Tells the requests of a session apart, those of one path too; events are equal without it."""
    return attrs.field(default=0, eq=False)


@attrs.define(frozen=True, kw_only=True)
class RequestSent:
    """One try of a request is about to be sent."""

    endpoint: str
    """The path template, such as ``/simulate/call-executions/{call_execution_id}/``."""
    path: str
    attempt: int
    request_number: int = _request_number()
    server_address: str = attrs.field(default="", eq=False)
    server_port: int = attrs.field(default=0, eq=False)


@attrs.define(frozen=True, kw_only=True)
class ResponseReceived:
    """A try was answered; also with an error status."""

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
    """A try failed and another follows after a pause."""

    endpoint: str
    path: str
    attempt: int
    error: str
    """The error's class name."""
    delay_seconds: float
    request_number: int = _request_number()


@attrs.define(frozen=True, kw_only=True)
class SessionPaused:
    """The server asked to wait; no request of the session is sent for so long."""

    delay_seconds: float


@attrs.define(frozen=True, kw_only=True)
class RequestFailed:
    """A request failed for good."""

    endpoint: str
    path: str
    attempts: int
    error: str
    status: int | None
    request_id: str | None
    request_number: int = _request_number()


@attrs.define(frozen=True, kw_only=True)
class RequestCancelled:
    """The caller, or the closing of the session, gave a request up; whether it was sent or waited."""

    endpoint: str
    path: str
    request_number: int = _request_number()


@attrs.define(frozen=True, kw_only=True)
class OutageBegan:
    """The server answers no request of a bulk read any more; it waits, and asks again now and then."""

    error: str
    """The class name of the error that the last request ended in."""
    status: int | None
    """What a gateway in front of the API answered."""
    seconds: float
    """Since the last answer."""
    max_outage: float
    """Seconds without an answer after which the read gives up."""


@attrs.define(frozen=True, kw_only=True)
class ProbePlanned:
    """A bulk read without answers asks again after a pause, one request at a time."""

    delay_seconds: float


@attrs.define(frozen=True, kw_only=True)
class OutageEnded:
    """The server answers again; or the bulk read ended without that, given up or cancelled."""

    answered: bool
    seconds: float
    """From the last answer before it."""
    probes: int
    """Requests that asked whether it was over, in vain."""


@attrs.define(frozen=True, kw_only=True)
class PageArrived:
    """A page of a bulk read was decoded."""

    source: CallSource
    page: int
    limit: int
    records: int
    count: int


@attrs.define(frozen=True, kw_only=True)
class VerdictReached:
    """A bulk read is done with a source."""

    source: CallSource
    verdict: Verdict
    reason: str
    received: int


@attrs.define(frozen=True, kw_only=True)
class ExecutionChecked:
    """`Session.wait_for_execution` or `Session.watch_calls` looked at a test execution."""

    state: ExecutionState
    delay_seconds: float
    """Until it looks again; 0 where it does not."""


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
