"""Spans of a session's requests, as an OpenTelemetry SDK receives them."""

from collections.abc import Iterator

import anyio
import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from futureagi_async import NotFoundError, RunTestCalls
from futureagi_async.integrations.opentelemetry import OpenTelemetryObserver
from futureagi_async.testing import StandInServer
from tests.support.sessions import UNKNOWN_ID, FakeClock, RawServer, answer, open_session, reset, wait_until

pytestmark = pytest.mark.anyio

ENDPOINT = "/simulate/test-executions/{test_execution_id}/kpis/"


class Traces:
    """A tracer provider, and the spans that ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.observer = OpenTelemetryObserver(self.provider)

    def ended(self, kind: SpanKind = SpanKind.CLIENT) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.kind is kind]


@pytest.fixture
def traces() -> Iterator[Traces]:
    """Collect spans, and check in the end that none was left open."""
    made = Traces()
    yield made
    assert made.observer._spans == {}


async def test_a_request_is_a_span(futureagi_server: StandInServer, traces: Traces) -> None:
    """Named by the route, not by ids; a child of the caller's span; with the request id."""
    server = futureagi_server
    execution_id = server.test_execution_ids[0]
    async with open_session(server, observers=[traces.observer]) as session:
        with traces.provider.get_tracer("test").start_as_current_span("caller") as caller:
            await session.get_kpis(execution_id)
    (span,) = traces.ended()
    assert span.name == f"GET {ENDPOINT}"
    assert span.parent is not None
    assert span.parent.span_id == caller.get_span_context().span_id
    attributes = dict(span.attributes or {})
    (request_id,) = attributes.pop("http.response.header.x-request-id")
    assert request_id
    assert attributes == {
        "http.request.method": "GET",
        "url.template": ENDPOINT,
        "url.path": ENDPOINT.format(test_execution_id=execution_id),
        "server.address": "127.0.0.1",
        "server.port": int(server.base_url.rpartition(":")[2]),
        "http.response.status_code": 200,
    }
    assert span.status.status_code is StatusCode.UNSET


async def test_each_try_is_a_span(futureagi_server: StandInServer, traces: Traces) -> None:
    """A throttled try, a failed one and the last; the retry and the pause stand in the caller's span."""
    server = futureagi_server
    server.fail(status=429, headers={"Retry-After": "2"})
    async with open_session(server, observers=[traces.observer], clock=FakeClock()) as session:
        with (
            traces.provider.get_tracer("test").start_as_current_span("caller"),
            pytest.raises(NotFoundError),
        ):
            await session.get_kpis(UNKNOWN_ID)
    spans = traces.ended()
    assert [span.attributes["http.response.status_code"] for span in spans] == [429, 404]
    assert [span.attributes["error.type"] for span in spans] == ["429", "404"]
    assert [span.attributes.get("http.request.resend_count") for span in spans] == [None, 1]
    assert {span.status.status_code for span in spans} == {StatusCode.ERROR}
    (caller,) = traces.ended(SpanKind.INTERNAL)
    assert [event.name for event in caller.events] == ["futureagi.pause", "futureagi.retry"]


async def test_a_try_without_an_answer_is_a_span(traces: Traces) -> None:
    """It ends in the class of the error, and with the request."""
    async with (
        RawServer(reset, answer()) as server,
        open_session(server, observers=[traces.observer], clock=FakeClock()) as session,
    ):
        await session.get_kpis(UNKNOWN_ID)
    spans = traces.ended()
    assert [span.attributes.get("error.type") for span in spans] == ["APIConnectionError", None]
    assert "http.response.status_code" not in spans[0].attributes


async def test_a_cancelled_request_ends_its_span(futureagi_server: StandInServer, traces: Traces) -> None:
    """Its error is the cancellation; those that still waited for a slot have no span."""
    server = futureagi_server
    server.stall(times=2)
    async with (
        open_session(server, observers=[traces.observer], max_in_flight=1) as session,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(2):
            tasks.start_soon(session.get_kpis, UNKNOWN_ID)
        await wait_until(lambda: server.in_flight)
        tasks.cancel_scope.cancel()
    assert [span.attributes["error.type"] for span in traces.ended()] == ["cancelled"]


async def test_pages_and_verdicts_of_a_bulk_read(futureagi_server: StandInServer, traces: Traces) -> None:
    """They are events of the caller's span, and name lists by their ids: no search words."""
    source = RunTestCalls(futureagi_server.run_test_ids[2], search="c4n4ry")
    async with open_session(futureagi_server, observers=[traces.observer]) as session:
        with traces.provider.get_tracer("test").start_as_current_span("caller"):
            await session.fetch_calls([source])
    (caller,) = traces.ended(SpanKind.INTERNAL)
    assert {event.name for event in caller.events} == {"futureagi.page", "futureagi.verdict"}
    assert {event.attributes["run_test_id"] for event in caller.events} == {source.run_test_id}
    assert "c4n4ry" not in "".join(span.to_json() for span in [*traces.ended(), caller])
