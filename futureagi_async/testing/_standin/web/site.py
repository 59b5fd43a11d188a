"""From a request to a response: faults, routing, keys, endpoint, headers, and an entry in the journal."""

from __future__ import annotations

import asyncio
from email.utils import format_datetime
from itertools import count
from typing import TYPE_CHECKING

from aiohttp import web

from futureagi_async.testing._standin.data.values import seeded_uuid
from futureagi_async.testing._standin.request_log import Journal, ServedRequest
from futureagi_async.testing._standin.web.answers import HTML, Answer, detailed_refusal, html_page, refusal
from futureagi_async.testing._standin.web.endpoints import answer_route
from futureagi_async.testing._standin.web.keys import check_keys
from futureagi_async.testing._standin.web.request import Visit
from futureagi_async.testing._standin.web.routes import Route, find_route

if TYPE_CHECKING:
    from collections.abc import Callable

    from futureagi_async.testing._standin.clock import VirtualClock
    from futureagi_async.testing._standin.web.backend import Backend
    from futureagi_async.testing._standin.web.faults import FaultScript

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
        backend: Backend,
        clock: VirtualClock,
        faults: FaultScript,
        keys: tuple[str, str],
        catch_up: Callable[[], None],
    ) -> None:
        self.backend = backend
        self.clock = clock
        self.faults = faults
        self.keys = keys
        self.catch_up = catch_up
        self.journal = Journal()
        self.latency_seconds = 0.0
        self._numbers = count()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, and note it: also when it was cancelled or cut off."""
        self.journal.begin()
        exchange = _Exchange(self, request)
        try:
            if self.latency_seconds > 0:
                await asyncio.sleep(self.latency_seconds)
            fault = self.faults.take(request.raw_path)
            return exchange.respond(exchange.usual()) if fault is None else await fault.play(exchange)
        finally:
            self.journal.finish(exchange.entry())

    def answer(self, request: web.BaseRequest, path: str, visit: Visit) -> Answer:
        """Decide in the vendor's order: length, address, slash, wanted format, keys, method, endpoint."""
        if len(request.raw_path) > _LONGEST_REQUEST_LINE:
            return Answer(414, closes=True)
        route = find_route(path)
        if route is None:
            return _lost(path, request.raw_path)
        refused = self._refuse(request, route, visit)
        if refused is not None:
            return refused
        with self.backend.world.lock:
            return answer_route(self.backend, visit, route)

    def _refuse(self, request: web.BaseRequest, route: Route, visit: Visit) -> Answer | None:
        dialect = self.backend.dialect.name
        if not _accepts_json(request.headers.get("Accept")):
            return detailed_refusal(dialect, 406, "Could not satisfy the request Accept header.")
        if route.endpoint != "execution" and visit.query.get("format", "json") != "json":
            return refusal(dialect, 404, "Not found.", code="error")
        refused = check_keys(request.headers, *self.keys, dialect)
        if refused is None and request.method not in {"GET", "HEAD"}:
            return detailed_refusal(dialect, 405, f'Method "{request.method}" not allowed.')
        return refused

    def headers(self, answer: Answer, path: str) -> dict[str, str]:
        """Collect the headers of an answer; a redirect and a refused address bear no request id."""
        now = format_datetime(self.clock.now(), usegmt=True)
        headers = {"Date": now, **_EVERYWHERE, "Content-Type": answer.content_type}
        if answer.status not in {301, 414}:
            number = next(self._numbers)
            headers["X-Request-Id"] = seeded_uuid(self.backend.world.seed, "request", number)
            headers["X-Frame-Options"] = "DENY"
            route = find_route(path)
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
        self._visit = Visit(
            path=self._path,
            query_string=query_string,
            host=request.headers.get("Host", ""),
            clock=site.clock,
            catch_up=site.catch_up,
        )

    def usual(self) -> Answer:
        return self._site.answer(self.request, self._path, self._visit)

    def respond(self, answer: Answer) -> web.StreamResponse:
        self._visit.finish()
        self._status = answer.status
        headers = self._site.headers(answer, self._path)
        response = web.Response(status=answer.status, body=answer.body, headers=headers)
        if answer.closes:
            response.force_close()
        return response

    async def send_part(self, answer: Answer, body_bytes: int) -> web.StreamResponse:
        self._visit.finish()
        self._status = answer.status
        response = web.StreamResponse(status=answer.status, headers=self._site.headers(answer, self._path))
        response.content_length = len(answer.body)
        await response.prepare(self.request)
        await response.write(answer.body[:body_bytes])
        return response

    def entry(self) -> ServedRequest:
        """Note what happened; the request's time passes in any case."""
        self._visit.finish()
        return ServedRequest(
            method=self.request.method,
            path=self._path,
            query=self._visit.query,
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


def _lost(path: str, raw_path: str) -> Answer:
    """Send to the address with a slash if that one exists; otherwise nothing is here, in HTML."""
    if find_route(f"{path}/") is None:
        text = "The requested resource was not found on this server."
        return html_page(404, "Not Found", text)
    target = raw_path.replace(path, f"{path}/", 1)
    return Answer(301, content_type=HTML, headers={"Location": target})
