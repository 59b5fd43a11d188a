"""OpenTelemetry traces: one client span for each attempt of a request. Extra ``[opentelemetry]``.

::

    async with Session(observers=[OpenTelemetryObserver()]) as session: ...

Span and attribute names follow the semantic conventions for HTTP client spans, 1.23 and later. A span has no
header, no body, and no query string, since that contains search texts.
"""

try:
    from opentelemetry import trace
    from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{__name__} needs OpenTelemetry (the extra [opentelemetry]): pip install 'opentelemetry-api>=1.27'"
    ) from error

from futureagi_async import __version__
from futureagi_async.events import (
    Event,
    ExecutionChecked,
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


class OpenTelemetryObserver:
    """An observer for one `Session`. Its spans are children of the caller's current span.

    A span covers one attempt, from sending to the last byte. Its name is the method and the route template,
    such as ``GET /simulate/call-executions/{call_execution_id}/``. Retries, pauses, pages and verdicts are
    events of the caller's span.

    Args:
        tracer_provider: Default: the global tracer provider.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("futureagi_async", __version__, tracer_provider)
        self._spans: dict[int, Span] = {}

    def __call__(self, event: Event) -> None:
        """Handle one event; `Session` calls this."""
        match event:
            case RequestSent():
                self._spans[event.request_number] = self._start(event)
            case ResponseReceived():
                self._answered(event)
            case RetryPlanned():
                self._unanswered(event.request_number, event.error)
                delay = event.delay_seconds
                _note("futureagi.retry", attempt=event.attempt, error=event.error, delay_seconds=delay)
            case RequestFailed():
                self._unanswered(event.request_number, event.error)
            case RequestCancelled():
                self._unanswered(event.request_number, "cancelled")
            case SessionPaused():
                _note("futureagi.pause", delay_seconds=event.delay_seconds)
            case OutageBegan():
                _note("futureagi.outage", error=event.error, seconds=event.seconds)
            case ProbePlanned():
                _note("futureagi.probe", delay_seconds=event.delay_seconds)
            case OutageEnded():
                facts = {"answered": event.answered, "seconds": event.seconds, "probes": event.probes}
                _note("futureagi.outage_ended", **facts)
            case PageArrived():
                ids = event.source.ids
                _note("futureagi.page", **ids, page=event.page, limit=event.limit, records=event.records)
            case VerdictReached():
                ids = event.source.ids
                _note("futureagi.verdict", **ids, verdict=event.verdict, received=event.received)
            case ExecutionChecked():
                state = event.state
                _note("futureagi.execution", test_execution_id=state.id, status=state.status or "")

    def _start(self, event: RequestSent) -> Span:
        attributes: dict[str, str | int] = {
            "http.request.method": "GET",
            "url.template": event.endpoint,
            "url.path": event.path,
            "server.address": event.server_address,
            "server.port": event.server_port,
        }
        if event.attempt > 1:
            attributes["http.request.resend_count"] = event.attempt - 1
        return self._tracer.start_span(f"GET {event.endpoint}", kind=SpanKind.CLIENT, attributes=attributes)

    def _answered(self, event: ResponseReceived) -> None:
        span = self._spans.pop(event.request_number)
        span.set_attribute("http.response.status_code", event.status)
        if event.request_id is not None:
            span.set_attribute("http.response.header.x-request-id", [event.request_id])
        if event.status >= 400:
            span.set_attribute("error.type", str(event.status))
            span.set_status(StatusCode.ERROR)
        span.end()

    def _unanswered(self, request_number: int, error: str) -> None:
        """End the span of an attempt that got no response."""
        span = self._spans.pop(request_number, None)
        if span is not None:
            span.set_attribute("error.type", error)
            span.set_status(StatusCode.ERROR)
            span.end()


def _note(name: str, **facts: str | int | float) -> None:
    trace.get_current_span().add_event(name, facts)
