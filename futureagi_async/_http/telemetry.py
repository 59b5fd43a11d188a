"""Sends events of requests to observers, and to the log at level DEBUG."""

import itertools
import logging
from collections.abc import Sequence

import attrs

from futureagi_async._sansio.replies import Reply
from futureagi_async._sansio.requests import Request
from futureagi_async._sansio.settings import Origin
from futureagi_async.errors import FutureAGIError
from futureagi_async.events import (
    Event,
    ExecutionChecked,
    Observer,
    OutageBegan,
    OutageEnded,
    PageArrived,
    ProbePlanned,
    RequestCancelled,
    RequestFailed,
    RequestSent,
    ResponseReceived,
    RetryPlanned,
    SessionPaused,
    VerdictReached,
)

_log = logging.getLogger("futureagi_async")


class Telemetry:
    """The observers of a session, and the log."""

    def __init__(self, origin: Origin, observers: Sequence[Observer]) -> None:
        self.origin = origin
        self._observers = tuple(observers)
        self._numbers = itertools.count(1)

    @property
    def is_enabled(self) -> bool:
        """Whether anyone listens; otherwise no event must be created."""
        return bool(self._observers) or _log.isEnabledFor(logging.DEBUG)

    def emit(self, event: Event) -> None:
        """Send an event to all observers and the log. An observer that fails is logged, and stops nothing."""
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s", log_line(event))
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # noqa: BLE001 - whatever an observer raises is its own trouble
                _log.exception("An observer failed on %s.", type(event).__name__)

    def begin(self, request: Request) -> "RequestTrace":
        """Start the trace of one request."""
        return RequestTrace(self, request.endpoint, request.path, next(self._numbers))


@attrs.define(frozen=True)
class RequestTrace:
    """Emits the events of one request, from its first attempt to its end."""

    _telemetry: Telemetry
    _endpoint: str
    path: str
    _number: int

    def sent(self, attempt: int) -> None:
        """Emit that an attempt is about to be sent."""
        if self._telemetry.is_enabled:
            self._telemetry.emit(
                RequestSent(
                    endpoint=self._endpoint,
                    path=self.path,
                    attempt=attempt,
                    request_number=self._number,
                    server_address=self._telemetry.origin.host,
                    server_port=self._telemetry.origin.port,
                )
            )

    def answered(self, attempt: int, reply: Reply, seconds: float) -> None:
        """Emit that a response arrived."""
        if self._telemetry.is_enabled:
            self._telemetry.emit(
                ResponseReceived(
                    endpoint=self._endpoint,
                    path=self.path,
                    attempt=attempt,
                    status=reply.status,
                    request_id=reply.request_id,
                    seconds=seconds,
                    body_bytes=len(reply.body),
                    request_number=self._number,
                )
            )

    def retrying(self, attempt: int, error: FutureAGIError, delay_seconds: float) -> None:
        """Emit that an attempt failed and another follows."""
        self._telemetry.emit(
            RetryPlanned(
                endpoint=self._endpoint,
                path=self.path,
                attempt=attempt,
                error=type(error).__name__,
                delay_seconds=delay_seconds,
                request_number=self._number,
            )
        )

    def failed(self, error: FutureAGIError) -> FutureAGIError:
        """Emit that no attempt follows, and return the error to raise."""
        self._telemetry.emit(
            RequestFailed(
                endpoint=self._endpoint,
                path=self.path,
                attempts=error.attempts,
                error=type(error).__name__,
                status=error.status,
                request_id=error.request_id,
                request_number=self._number,
            )
        )
        return error

    def cancelled(self) -> None:
        """Emit that the request was cancelled."""
        self._telemetry.emit(
            RequestCancelled(endpoint=self._endpoint, path=self.path, request_number=self._number)
        )


def log_line(event: Event) -> str:
    """Return an event as one line for the log."""
    match event:
        case RequestSent():
            return f"GET {event.path} attempt {event.attempt}"
        case ResponseReceived():
            size = f"{event.body_bytes:,} bytes in {event.seconds:.3f} s"
            return f"GET {event.path} answered {event.status}, {size}{_request_id(event.request_id)}"
        case RetryPlanned():
            wait = f"next attempt in {event.delay_seconds:.2f} s"
            return f"GET {event.path} attempt {event.attempt} failed ({event.error}), {wait}"
        case SessionPaused():
            return f"Paused for {event.delay_seconds:.2f} s, as the server asked"
        case RequestFailed():
            what = f"failed ({event.error}), attempts: {event.attempts}"
            return f"GET {event.path} {what}{_request_id(event.request_id)}"
        case RequestCancelled():
            return f"GET {event.path} cancelled"
        case OutageBegan():
            what = f"{event.error} {event.status}" if event.status else event.error
            return f"No answer for {event.seconds:.2f} s ({what}), waiting up to {event.max_outage:g} s"
        case ProbePlanned():
            return f"Still no answer, next probe in {event.delay_seconds:.2f} s"
        case OutageEnded():
            how = "Answered again" if event.answered else "Ended without an answer"
            return f"{how} after {event.seconds:.2f} s, failed probes: {event.probes}"
        case PageArrived():
            label = event.source.label.capitalize()
            new = f"{event.records} of {event.count:,} records are new"
            return f"{label} page {event.page} of {event.limit} rows: {new}"
        case VerdictReached():
            label = event.source.label.capitalize()
            return f"{label} {event.verdict}, {event.received:,} received: {event.reason}"
        case ExecutionChecked():
            return f"Test execution {event.state.id} {event.state}"


def _request_id(request_id: str | None) -> str:
    return f", request id {request_id}" if request_id else ""
