"""Answers a request: scripted faults, routing, keys, the endpoint, headers, and an entry in the log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from email.utils import format_datetime
from itertools import count
from typing import TYPE_CHECKING, Literal

from aiohttp import web
from attrs import frozen

from futureagi_async.testing._standin.data.values import seeded_uuid
from futureagi_async.testing._standin.request_log import RequestLog, ServedRequest
from futureagi_async.testing._standin.web import discovery, documented_lists, served_lists
from futureagi_async.testing._standin.web.answers import (
    HTML,
    Answer,
    detailed_refusal,
    html_page,
    refusal,
)
from futureagi_async.testing._standin.web.cost import Workers
from futureagi_async.testing._standin.web.request import RequestContext
from futureagi_async.testing._standin.wire.dialect import PoisonedRowError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from futureagi_async.testing._standin.clock import VirtualClock
    from futureagi_async.testing._standin.data.records import World
    from futureagi_async.testing._standin.web.cost import ServerCost
    from futureagi_async.testing._standin.web.faults import FaultScript
    from futureagi_async.testing._standin.wire.dialect import Dialect, DialectName

EndpointName = Literal[
    "call_execution",
    "run_test",
    "version",
    "execution",
    "kpis",
    "run_tests",
    "run_test_by_name",
    "executions",
    "agents",
    "versions",
]

_ID = "([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"

_PATHS: dict[EndpointName, re.Pattern[str]] = {
    "call_execution": re.compile(rf"/simulate/call-executions/{_ID}/"),
    "run_test": re.compile(rf"/simulate/run-tests/{_ID}/call-executions/"),
    "version": re.compile(rf"/simulate/agent-definitions/{_ID}/versions/{_ID}/call-executions/"),
    "execution": re.compile(rf"/simulate/test-executions/{_ID}/"),
    "kpis": re.compile(rf"/simulate/test-executions/{_ID}/kpis/"),
    "run_tests": re.compile("/simulate/run-tests/"),
    "run_test_by_name": re.compile("/simulate/run-tests/get-id-by-name/([^/]+)/"),
    "executions": re.compile(rf"/simulate/run-tests/{_ID}/executions/"),
    "agents": re.compile("/simulate/agent-definitions/"),
    "versions": re.compile(rf"/simulate/agent-definitions/{_ID}/versions/"),
}


@frozen
class Route:
    """An endpoint and the ids, or the name, in its path."""

    endpoint: EndpointName
    ids: tuple[str, ...]

    @property
    def allow(self) -> str:
        """The methods the endpoint announces."""
        more = {"call_execution": "PATCH, ", "agents": "DELETE, "}.get(self.endpoint, "")
        return f"GET, {more}HEAD, OPTIONS"


def find_route(path: str, dialect: DialectName) -> Route | None:
    """Find the endpoint of an undecoded path."""
    for endpoint in _ENDPOINTS[dialect]:
        if match := _PATHS[endpoint].fullmatch(path):
            return Route(endpoint, match.groups())
    return None


_FOREIGN_AUTHORIZATION = "Invalid Token parsed: Invalid Token parsed: Invalid token encryption"
_CHALLENGE = {"WWW-Authenticate": "ApiKey"}


def check_keys(
    headers: Mapping[str, str], api_key: str, secret_key: str, dialect: DialectName
) -> Answer | None:
    """Refuse a request without the right pair; any `Authorization` header wins over it, and is wrong."""
    if "Authorization" in headers:
        return _unauthorized(dialect, "authentication_failed", _FOREIGN_AUTHORIZATION)
    given = (headers.get("X-Api-Key"), headers.get("X-Secret-Key"))
    if not all(given):
        return _unauthorized(dialect, "not_authenticated", "Authentication credentials were not provided.")
    if given != (api_key, secret_key):
        return _unauthorized(dialect, "authentication_failed", "Invalid API key or secret key")
    return None


def _unauthorized(dialect: DialectName, code: str, message: str) -> Answer:
    answer = detailed_refusal(dialect, 401, message, code=code)
    return Answer(answer.status, answer.body, headers=_CHALLENGE)


Endpoint = Callable[[RequestContext, tuple[str, ...]], Answer]


def _call_execution(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    """Answer a call's detail; deleted calls and ids of snapshots are unknown here."""
    context.run_statement()
    call = context.world.calls.get(ids[0])
    if call is None or call.state.deleted or not call.state.exists:
        return refusal(context.dialect.name, 404, "Call execution not found")
    return Answer(200, context.dialect.row(call, "detail"), rows=1)


def _kpis(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    context.run_statement()
    execution = context.world.execution(ids[0])
    if execution is None:
        return refusal(context.dialect.name, 404, "Test execution not found.")
    return Answer(200, context.dialect.kpis(execution))


_DISCOVERY: dict[EndpointName, Endpoint] = {
    "run_tests": discovery.run_tests,
    "executions": discovery.executions,
    "agents": discovery.agents,
    "versions": discovery.versions,
}
_ENDPOINTS: dict[DialectName, dict[EndpointName, Endpoint]] = {
    "served": {
        "call_execution": _call_execution,
        "run_test": served_lists.run_test_calls,
        "version": served_lists.version_calls,
        "execution": served_lists.test_execution,
        "kpis": _kpis,
        **_DISCOVERY,
        "run_test_by_name": discovery.run_test_by_name,
    },
    "documented": {
        "call_execution": _call_execution,
        "run_test": documented_lists.run_test_calls,
        "version": documented_lists.version_calls,
        "execution": documented_lists.test_execution,
        "kpis": _kpis,
        **_DISCOVERY,
    },
}


_STRICT: set[EndpointName] = {"execution", "run_tests"}
"""Endpoints that refuse parameters they do not know, `format` too."""

_LONGEST_REQUEST_LINE = 65_536
_EVERYWHERE = {
    "Vary": "Cookie, origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "granian",
}


class Site:
    """Everything behind the socket. `latency_seconds` is real time, and may change at any moment."""

    def __init__(
        self,
        world: World,
        dialect: Dialect,
        clock: VirtualClock,
        faults: FaultScript,
        keys: tuple[str, str],
        catch_up: Callable[[], None],
        cost: ServerCost | None,
    ) -> None:
        self.world = world
        self.dialect = dialect
        self.clock = clock
        self.faults = faults
        self.keys = keys
        self.catch_up = catch_up
        self.log = RequestLog()
        self.latency_seconds = 0.0
        self.workers = None if cost is None else Workers(cost)
        self._numbers = count()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, and note it: also when it was cancelled or cut off."""
        self.log.begin()
        exchange = _Exchange(self, request)
        try:
            if self.latency_seconds > 0:
                await asyncio.sleep(self.latency_seconds)
            fault = self.faults.take(request.raw_path)
            if fault is not None:
                return await fault.apply(exchange)
            return exchange.respond(await exchange.usual())
        finally:
            self.log.finish(exchange.entry())

    def answer(self, request: web.BaseRequest, route: Route | None, context: RequestContext) -> Answer:
        """Decide in the vendor's order: length, address, slash, wanted format, keys, method, endpoint."""
        if len(request.raw_path) > _LONGEST_REQUEST_LINE:
            return Answer(414, closes=True)
        if route is None:
            return _redirect_or_not_found(request.raw_path, self.dialect.name)
        refused = self._refuse(request, route, context)
        if refused is not None:
            return refused
        with self.world.lock:
            self.catch_up()
            try:
                return _ENDPOINTS[self.dialect.name][route.endpoint](context, route.ids)
            except PoisonedRowError:
                return html_page(500, "Server Error (500)")

    def _refuse(self, request: web.BaseRequest, route: Route, context: RequestContext) -> Answer | None:
        if not _accepts_json(request.headers.get("Accept")):
            return detailed_refusal(self.dialect.name, 406, "Could not satisfy the request Accept header.")
        if route.endpoint not in _STRICT and context.query.get("format", "json") != "json":
            return refusal(self.dialect.name, 404, "Not found.", code="error")
        refused = check_keys(request.headers, *self.keys, self.dialect.name)
        if refused is None and request.method not in {"GET", "HEAD"}:
            return detailed_refusal(self.dialect.name, 405, f'Method "{request.method}" not allowed.')
        return refused

    def headers(self, answer: Answer, route: Route | None) -> dict[str, str]:
        """Collect the headers of an answer; a redirect and a refused address bear no request id."""
        now = format_datetime(self.clock.now(), usegmt=True)
        headers = {"Date": now, **_EVERYWHERE, "Content-Type": answer.content_type}
        if answer.status not in {301, 414}:
            number = next(self._numbers)
            headers["X-Request-Id"] = seeded_uuid(self.world.seed, "request", number)
            headers["X-Frame-Options"] = "DENY"
            if route is not None:
                headers["Allow"] = route.allow
        return headers | dict(answer.headers)


class _Exchange:
    """One request on its way through the site."""

    def __init__(self, site: Site, request: web.BaseRequest) -> None:
        self.request = request
        self._site = site
        self._started = site.clock.monotonic()
        self._status = 0
        self._path, _, query_string = request.raw_path.partition("?")
        self._route = find_route(self._path, site.dialect.name)
        self._context = RequestContext(
            path=self._path,
            query_string=query_string,
            host=request.headers.get("Host", ""),
            world=site.world,
            dialect=site.dialect,
            clock=site.clock,
            catch_up=site.catch_up,
        )

    async def usual(self) -> Answer:
        answer = self._site.answer(self.request, self._route, self._context)
        if self._site.workers is not None:
            await self._site.workers.answer(answer.rows)
        return answer

    def respond(self, answer: Answer) -> web.StreamResponse:
        self._context.finish()
        self._status = answer.status
        headers = self._site.headers(answer, self._route)
        response = web.Response(status=answer.status, body=answer.body, headers=headers)
        if answer.closes:
            response.force_close()
        return response

    async def send_part(self, answer: Answer, body_bytes: int) -> web.StreamResponse:
        self._context.finish()
        self._status = answer.status
        response = web.StreamResponse(status=answer.status, headers=self._site.headers(answer, self._route))
        response.content_length = len(answer.body)
        await response.prepare(self.request)
        await response.write(answer.body[:body_bytes])
        return response

    def entry(self) -> ServedRequest:
        """Say what was asked and answered; the request's time passes in any case."""
        self._context.finish()
        return ServedRequest(
            method=self.request.method,
            path=self._path,
            query=self._context.query,
            headers=self.request.headers,
            status=self._status,
            started=self._started,
            ended=self._site.clock.monotonic(),
        )


def _accepts_json(accept: str | None) -> bool:
    """Tell whether JSON satisfies the `Accept` header; none at all asks for anything."""
    if not accept:
        return True
    wanted = {part.split(";")[0].strip().lower() for part in accept.split(",")}
    return bool(wanted & {"*/*", "application/*", "application/json"})


def _redirect_or_not_found(raw_path: str, dialect: DialectName) -> Answer:
    """Send to the address with a slash if that one exists; otherwise nothing is here, in HTML."""
    path = raw_path.partition("?")[0]
    if find_route(f"{path}/", dialect) is None:
        text = "The requested resource was not found on this server."
        return html_page(404, "Not Found", text)
    target = raw_path.replace(path, f"{path}/", 1)
    return Answer(301, content_type=HTML, headers={"Location": target})
