"""An event as a line of the log: what happened, without keys, bodies, search words or filter values."""

from futureagi_async.events import (
    Event,
    PageArrived,
    RequestCancelled,
    RequestFailed,
    RequestSent,
    ResponseReceived,
    RetryPlanned,
    SessionPaused,
    VerdictReached,
)
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls


def narrate(event: Event) -> str:
    """Say what happened in one line."""
    match event:
        case RequestSent():
            return f"GET {event.path} try {event.attempt}"
        case ResponseReceived():
            size = f"{event.body_bytes:,} bytes in {event.seconds:.3f} s"
            return f"GET {event.path} answered {event.status}, {size}{_request_id(event.request_id)}"
        case RetryPlanned():
            wait = f"next try in {event.delay_seconds:.2f} s"
            return f"GET {event.path} try {event.attempt} failed ({event.error}), {wait}"
        case SessionPaused():
            return f"Paused for {event.delay_seconds:.2f} s, as the server asked"
        case RequestFailed():
            what = f"failed for good ({event.error}) after {event.attempts} tries"
            return f"GET {event.path} {what}{_request_id(event.request_id)}"
        case RequestCancelled():
            return f"GET {event.path} cancelled"
        case PageArrived():
            records = f"{event.records} new records of {event.count:,}"
            return f"{_named(event.source)} page {event.page} of {event.limit} rows: {records}"
        case VerdictReached():
            return f"{_named(event.source)} {event.verdict}, {event.received:,} records: {event.reason}"


def _request_id(request_id: str | None) -> str:
    return f", request id {request_id}" if request_id else ""


def _named(source: CallSource) -> str:
    """Name a source by its ids alone: what was searched for is the customer's own."""
    if isinstance(source, RunTestCalls):
        return f"Run test {source.run_test_id}"
    if isinstance(source, AgentVersionCalls):
        return f"Agent version {source.version_id}"
    return f"Test execution {source.test_execution_id}"
