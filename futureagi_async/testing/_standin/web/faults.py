"""Scripted faults: what goes wrong, for which requests, and how often."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web
from attrs import define, frozen

from futureagi_async.testing._standin.web.answers import ERROR_TYPES, HTML, JSON, Answer, html_page, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from futureagi_async.testing._standin.wire.dialect import DialectName

_PROXY_STATUSES = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Exchange(Protocol):
    """What a fault may do with a request: answer it properly, otherwise, in part, or not at all."""

    request: web.BaseRequest

    @abstractmethod
    async def usual(self) -> Answer:
        """Make the answer that would have been given, in the time that it costs."""

    @abstractmethod
    def respond(self, answer: Answer) -> web.StreamResponse:
        """Turn an answer into a response, with the time that it took."""

    @abstractmethod
    async def send_part(self, answer: Answer, body_bytes: int) -> web.StreamResponse:
        """Send the headers of the whole answer, and only the beginning of its body."""


class Fault(Protocol):
    """One kind of misbehaviour."""

    @abstractmethod
    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Deal with the request."""


@frozen
class Replace:
    """Another answer than the usual one."""

    answer: Answer

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        return exchange.respond(self.answer)


@frozen
class Stall:
    """A wait, for ever where `seconds` is `None`: before the usual answer, or within its body."""

    seconds: float | None
    after_bytes: int | None

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        answer = await exchange.usual()
        if self.after_bytes is None:
            await self._wait()
            return exchange.respond(answer)
        response = await exchange.send_part(answer, self.after_bytes)
        await self._wait()
        await response.write(answer.body[self.after_bytes :])
        return response

    async def _wait(self) -> None:
        await asyncio.Event().wait() if self.seconds is None else await asyncio.sleep(self.seconds)


@frozen
class Disconnect:
    """A closed connection: before the answer, or within its body; politely, or with a reset."""

    after_bytes: int | None
    reset: bool

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        response = web.StreamResponse()
        if self.after_bytes is not None:
            response = await exchange.send_part(await exchange.usual(), self.after_bytes)
        transport = exchange.request.transport
        if transport is not None and self.reset:
            raw: socket.socket = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()
        elif transport is not None:
            transport.close()
        return response


@define
class _Scripted:
    fault: Fault
    path_contains: str
    times: int
    after: int


class FaultScript:
    """The faults still to come, in the order in which they were scripted. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripted: list[_Scripted] = []

    def add(self, fault: Fault, path_contains: str, *, times: int, after: int) -> None:
        if times < 1 or after < 0:
            raise ValueError("a fault happens at least once, and not before the first request")
        with self._lock:
            self._scripted.append(_Scripted(fault, path_contains, times, after))

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._scripted.clear()

    def take(self, path: str) -> Fault | None:
        """Use up one fault for a request to this path and query, if one is due.

        A fault that waits for later requests lets this one pass to the next fault in line.
        """
        with self._lock:
            for one in self._scripted:
                if one.path_contains not in path:
                    continue
                if one.after:
                    one.after -= 1
                    continue
                one.times -= 1
                if not one.times:
                    self._scripted.remove(one)
                return one.fault
        return None


def failure_answer(dialect: DialectName, status: int, headers: Mapping[str, str] | None, body: Any) -> Answer:
    """Build a failing answer: a body as given, or what a proxy, a limiter or the API itself would say."""
    if body is None:
        default = _default_failure(dialect, status)
        return Answer(status, default.body, default.content_type, dict(headers or {}))
    if isinstance(body, bytes | str):
        content = body.encode() if isinstance(body, str) else body
        return Answer(status, content, JSON if content[:1] in {b"{", b"["} else HTML, dict(headers or {}))
    return Answer(status, json.dumps(body).encode(), JSON, dict(headers or {}))


def _default_failure(dialect: DialectName, status: int) -> Answer:
    if status in _PROXY_STATUSES:
        return html_page(status, f"{status} {_PROXY_STATUSES[status]}", "The upstream did not answer.")
    if status == 429:
        limited = {"code": "RATE_LIMITED", "message": "Too many requests.", "retry_after": 1}
        return Answer(status, json.dumps({"status": False, "result": limited}).encode())
    if status in ERROR_TYPES:
        return refusal(dialect, status, "Scripted failure.")
    return html_page(status, str(status))
