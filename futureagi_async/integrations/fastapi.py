"""FastAPI: one session per process, errors as HTTP responses, and calls streamed as they arrive.

::

    app = FastAPI(lifespan=session_lifespan())
    install_error_handlers(app)

    @app.get("/calls/{call_id}")
    async def read_call(call_id: UUID, session: SessionDependency):
        return json_response(await session.get_call_execution(call_id))
"""

import json
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, ParamSpec, TypeAlias, TypeVar, cast

import anyio
import anyio.lowlevel
import attrs

try:
    from fastapi import Depends, Request, Response
    from fastapi.responses import JSONResponse
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, HTTPConnection
    from starlette.types import Receive, Scope, Send
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{__name__} needs FastAPI (the extra [fastapi]): pip install 'fastapi>=0.115'"
    ) from error

from futureagi_async import (
    APITimeoutError,
    BudgetError,
    CallExecution,
    CallPage,
    CallStream,
    ExecutionKPIs,
    ExportError,
    FetchReport,
    FetchResult,
    FutureAGIError,
    GroupPage,
    NotFoundError,
    Priority,
    RateLimitError,
    ResponseTooLargeError,
    RetryPolicy,
    Session,
    SessionMisuseError,
    SourceReport,
    SyncError,
    TestExecutionPage,
    Timeouts,
)

Sendable: TypeAlias = CallExecution | ExecutionKPIs | CallPage | GroupPage | FetchResult
"""Values that `json_response` can send."""

_PAGE_FACTS = ("count", "has_next", "total_pages", "current_page")
_EXECUTION_FACTS = ("status", "provider", "agent_type")


@attrs.frozen
class ErrorAnswer:
    """What the user of a service sees of an error: no keys, no URLs, no text of the vendor."""

    status: int
    detail: str
    headers: Mapping[str, str] = attrs.field(factory=dict)


_ANSWERS = (
    (NotFoundError, ErrorAnswer(404, "Future AGI does not know this id.")),
    (SessionMisuseError, ErrorAnswer(500, "Internal Server Error")),
    (BudgetError, ErrorAnswer(500, "Internal Server Error")),
    (ExportError, ErrorAnswer(500, "Internal Server Error")),
    (SyncError, ErrorAnswer(500, "Internal Server Error")),
    (APITimeoutError, ErrorAnswer(504, "Future AGI did not answer in time.")),
    (ResponseTooLargeError, ErrorAnswer(502, "The answer of Future AGI is too large.")),
    (FutureAGIError, ErrorAnswer(502, "Future AGI could not be read.")),
)
"""The first class that matches counts."""


def answer_to(error: FutureAGIError) -> ErrorAnswer:
    """Return the response to an error, for the user of a service that reads from the API."""
    if isinstance(error, RateLimitError) or (error.status == 503 and error.retry_after is not None):
        seconds = max(1, math.ceil(error.retry_after or 0))
        return ErrorAnswer(503, "Future AGI is busy; try again later.", {"Retry-After": str(seconds)})
    return next(answer for kind, answer in _ANSWERS if isinstance(error, kind))


def json_body(value: Sendable, *, include_provider_data: bool) -> bytes:
    """Return a value's JSON: the bytes that the server sent, if the value has them."""
    match value:
        case CallExecution():
            on_one_line = value.as_sent(include_provider_data=include_provider_data)
            is_whole = include_provider_data or not value.may_hold_provider_data
            return value.raw if is_whole else on_one_line
        case ExecutionKPIs():
            if not value.raw:
                raise ValueError("These KPIs have no response as sent: your own code created them.")
            return value.raw
        case CallPage():
            facts = _page_facts(value)
            calls = value.calls
        case GroupPage():
            return json.dumps({**_facts(value, _PAGE_FACTS), "groups": value.groups}).encode()
        case FetchResult():
            facts = report_facts(value.report)
            calls = tuple(value.calls)
        case _:
            raise TypeError(
                f"json_response takes a call, KPIs, a page or a FetchResult, not {type(value).__name__}."
            )
    records = b",".join(call.as_sent(include_provider_data=include_provider_data) for call in calls)
    return b'%b, "calls": [%b]}' % (json.dumps(facts).encode().removesuffix(b"}"), records)


def incomplete(report: FetchReport) -> FutureAGIError:
    """Return the error for calls that were sent although their lists are incomplete."""
    missing = "; ".join(f"{one.source}: {one.reason}" for one in report if one.verdict != "complete")
    return FutureAGIError(f"The calls sent are incomplete. {missing}")


def last_line(report: FetchReport, error: FutureAGIError | None = None) -> bytes:
    """Return the last line, which says whether the lines before it are complete, or why they ended."""
    facts = report_facts(report)
    if error is None:
        return json.dumps({"report": facts}).encode() + b"\n"
    told = {"detail": answer_to(error).detail, "report": {**facts, "complete": False}}
    return json.dumps(told).encode() + b"\n"


def report_facts(report: FetchReport) -> dict[str, object]:
    """Return a report as a dict for JSON: whether everything is complete, and the verdict of each source."""
    return {"complete": report.complete, "sources": [_source_facts(source) for source in report]}


def _source_facts(report: SourceReport) -> dict[str, object]:
    as_of = report.complete_as_of
    return {
        "source": str(report.source),
        "verdict": report.verdict,
        "reason": report.reason,
        "expected": report.expected,
        "received": report.received,
        "complete_as_of": as_of.isoformat() if as_of is not None else None,
        "failures": [type(failure).__name__ for failure in report.failures],
    }


def _page_facts(page: CallPage) -> dict[str, object]:
    facts = _facts(page, _PAGE_FACTS)
    if isinstance(page, TestExecutionPage):
        facts |= _facts(page, _EXECUTION_FACTS)
    facts["failures"] = [
        {"index": failure.index, "id": failure.id, "json_path": failure.error.json_path}
        for failure in page.failures
    ]
    return facts


def _facts(value: object, names: Iterable[str]) -> dict[str, object]:
    return {name: getattr(value, name) for name in names}


__all__ = [
    "SessionDependency",
    "get_session",
    "install_error_handlers",
    "json_response",
    "ndjson_response",
    "session_lifespan",
    "session_with",
]

P = ParamSpec("P")
T = TypeVar("T")
SessionLifespan: TypeAlias = Callable[[Starlette], AbstractAsyncContextManager[Mapping[str, Session]]]

_STATE = "futureagi_session"
_SLICE_RECORDS = 100
"""Number of records that are sent before other tasks may run."""

_log = logging.getLogger("futureagi_async")


def _with_arguments_of(_model: Callable[P, object]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function the argument types of another one, for type checkers."""
    return lambda function: cast("Callable[P, T]", function)


@_with_arguments_of(Session)
def session_lifespan(*args: Any, **options: Any) -> SessionLifespan:
    """Return a lifespan that keeps one open `Session` per process. The arguments are those of `Session`.

    The session is created when the application starts. The environment is read then, and missing keys raise
    `ValueError` then. It is closed when the application has shut down.

    To combine it with a lifespan of your own, enter it there, and yield its state with yours::

        @asynccontextmanager
        async def lifespan(app):
            async with session_lifespan()(app) as state, open_database() as database:
                yield {**state, "database": database}
    """
    return _Lifespan(args, options)


class _Lifespan:
    """A class, because some tracebacks show a frame's variables, and the arguments may contain keys."""

    def __init__(self, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._args = args
        self._options = options

    @asynccontextmanager
    async def __call__(self, _app: Starlette) -> AsyncIterator[Mapping[str, Session]]:
        async with Session(*self._args, **self._options) as session:
            yield {_STATE: session}


def get_session(connection: HTTPConnection) -> Session:
    """Return the session that `session_lifespan` opened, for a request or a websocket.

    Raises `SessionMisuseError` if there is none. Either the application has no `session_lifespan`, or its own
    lifespan does not yield the state of `session_lifespan`, or a test client was not entered with ``with``.
    """
    session = connection.scope.get("state", {}).get(_STATE)
    if not isinstance(session, Session):
        raise SessionMisuseError(
            "There is no session: start the application with FastAPI(lifespan=session_lifespan()). A "
            "lifespan of your own must yield the state of session_lifespan. Use a TestClient in a with block."
        )
    return session


SessionDependency: TypeAlias = Annotated[Session, Depends(get_session)]
"""The process's session, as the type of a handler's argument."""


def session_with(
    *, timeouts: Timeouts | None = None, retry: RetryPolicy | None = None, priority: Priority | None = None
) -> Callable[[HTTPConnection], Session]:
    """Return a dependency for a view of the session with other options, on the same pool.

    ``Annotated[Session, Depends(session_with(timeouts=Timeouts(deadline=2)))]`` is a session whose requests
    time out after two seconds; `install_error_handlers` answers 504 then. The deadline does not include the
    wait for a free slot. Use ``asyncio.timeout`` in the handler to limit that, too.
    """

    def get_session_with_options(connection: HTTPConnection) -> Session:
        return get_session(connection).with_options(timeouts=timeouts, retry=retry, priority=priority)

    return get_session_with_options


def install_error_handlers(app: Starlette) -> None:
    """Answer each `FutureAGIError` of a handler with an HTTP status and a body that is safe to show.

    Not found is 404. Timeouts are 504. Throttling is 503 with ``Retry-After``. Misuse of the session and
    failed exports are 500. All other errors of the API are 502, such as refused keys and responses that are
    too large or unreadable. The body is ``{"detail": ...}`` with a text of this module: no key, URL or
    upstream text. The error itself is logged by the logger ``futureagi_async``.
    """
    app.add_exception_handler(FutureAGIError, _answer_error)


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FutureAGIError)
    answer = answer_to(error)
    if answer.status == 500:
        _log.error("%s: %s", type(error).__name__, error, exc_info=error)
    elif answer.status != 404:
        _log.warning("Answered %d: %s: %s", answer.status, type(error).__name__, error)
    return JSONResponse({"detail": answer.detail}, answer.status, answer.headers)


def json_response(value: Sendable, *, include_provider_data: bool = False) -> Response:
    """Return a response with a call, KPIs, a page or a `FetchResult` as JSON.

    A call and KPIs are the bytes that the server sent, with its names and units. Pages are
    ``{"count": ..., "calls": [...]}``, results ``{"complete": ..., "sources": [...], "calls": [...]}``; their
    calls are bytes of the server, too. ``call_metadata`` and ``provider_call_data`` are left out by default,
    because they may contain other parties' keys. Raises `TypeError` for other values, and `ValueError` for
    values that your own code created.
    """
    body = json_body(value, include_provider_data=include_provider_data)
    return Response(body, media_type="application/json")


def ndjson_response(
    stream: AbstractAsyncContextManager[CallStream],
    *,
    report: bool = False,
    include_provider_data: bool = False,
) -> Response:
    """Return a response that streams calls as they arrive: one JSON line per call, in the server's bytes.

    A body that ends normally has every call of every source. If a source is not provably complete, or
    reading fails, the last line is ``{"detail": ..., "report": {"complete": false, ...}}``, and the
    connection is then aborted. So no client can mistake a part for the whole.

    With ``report=True`` the last line is always ``{"report": {"complete": ..., "sources": [...]}}``; the body
    then ends normally for incomplete sources, too. Errors before the first page become HTTP errors. If the
    client disconnects, reading stops.

    Args:
        stream: The value of ``session.stream_calls(...)``, not entered: the response opens and closes it.
        report: Send the report as the last line, also if it says incomplete.
        include_provider_data: Keep ``call_metadata`` and ``provider_call_data``.
    """
    if not isinstance(stream, AbstractAsyncContextManager):
        raise TypeError(f"Pass session.stream_calls(...) without entering it, not {type(stream).__name__}.")
    return _CallLines(stream, report=report, include_provider_data=include_provider_data)


class _CallLines(Response):
    """Reads and sends until the client disconnects. Headers are sent with the first page, or its error."""

    media_type = "application/x-ndjson"

    def __init__(
        self, stream: AbstractAsyncContextManager[CallStream], *, report: bool, include_provider_data: bool
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._stream = stream
        self._with_report = report
        self._include_provider_data = include_provider_data
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_leave_with_client, receive, tasks.cancel_scope)
            try:
                await self._read_and_send(send)
            except ClientDisconnect:
                pass
            except Exception as error:  # noqa: BLE001 - raised again outside of the group, which would wrap it
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if self.background is not None:
            await self.background()

    async def _read_and_send(self, send: Send) -> None:
        async with self._stream as stream:
            try:
                async for page in stream.pages():
                    for start in range(0, len(page.calls), _SLICE_RECORDS):
                        await self._send_lines(send, page.calls[start : start + _SLICE_RECORDS])
                if not (self._with_report or stream.report.complete):
                    raise incomplete(stream.report)
            except FutureAGIError as error:
                if self._started:  # said in words, too: a middleware may end properly what breaks off
                    await self._send_body(send, last_line(stream.report, error), more=True)
                raise
            ending = last_line(stream.report) if self._with_report else b""
            await self._send_body(send, ending, more=False)

    async def _send_lines(self, send: Send, calls: Sequence[CallExecution]) -> None:
        keeps_all = self._include_provider_data
        lines = b"".join(b"%b\n" % call.as_sent(include_provider_data=keeps_all) for call in calls)
        await self._send_body(send, lines, more=True)
        await anyio.lowlevel.checkpoint()

    async def _send_body(self, send: Send, body: bytes, *, more: bool) -> None:
        try:
            if not self._started:
                self._started = True
                start = {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
                await send(start)
            await send({"type": "http.response.body", "body": body, "more_body": more})
        except OSError as error:  # what newer servers raise where the client is gone
            raise ClientDisconnect from error


async def _leave_with_client(receive: Receive, reading: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reading.cancel()
