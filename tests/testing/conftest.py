"""Asking the stand-in over real HTTP with the standard library, so that no client code is involved."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
from attrs import frozen

from futureagi_async.testing import StandInServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@frozen
class Reply:
    """A whole answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Asking:
    """Sends requests to a server; `ask.path` methods build addresses from ids."""

    def __init__(self, server: StandInServer) -> None:
        self.server = server

    def __call__(
        self,
        path: str,
        query: dict[str, Any] | str | None = None,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        keys: bool = True,
        **more: Any,
    ) -> Reply:
        """Send one request on a connection of its own; `headers` win over the right keys, `more` is query."""
        sent = {"X-Api-Key": self.server.api_key, "X-Secret-Key": self.server.secret_key} if keys else {}
        text = query if isinstance(query, str) else urlencode((query or {}) | more)
        target = f"{path}?{text}" if text else path
        address = urlsplit(self.server.base_url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
        try:
            connection.request(method, target, headers=sent | (headers or {}))
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def run_test(self, run_test_id: str, **query: Any) -> Reply:
        return self(f"/simulate/run-tests/{run_test_id}/call-executions/", query)

    def version(self, ids: tuple[str, str], **query: Any) -> Reply:
        return self(f"/simulate/agent-definitions/{ids[0]}/versions/{ids[1]}/call-executions/", query)

    def execution(self, execution_id: str, **query: Any) -> Reply:
        return self(f"/simulate/test-executions/{execution_id}/", query)

    def kpis(self, execution_id: str) -> Reply:
        return self(f"/simulate/test-executions/{execution_id}/kpis/")

    def detail(self, call_id: str) -> Reply:
        return self(f"/simulate/call-executions/{call_id}/")


@pytest.fixture
def start() -> Iterator[Callable[..., Asking]]:
    """Start servers that end with the test; returns something to ask each of them with."""
    running: list[StandInServer] = []

    def begin(**options: Any) -> Asking:
        server = StandInServer(**options)
        server.__enter__()
        running.append(server)
        return Asking(server)

    yield begin
    for server in running:
        server.__exit__(None, None, None)


@pytest.fixture
def ask(start: Callable[..., Asking]) -> Asking:
    """Return the way to ask a served stand-in with the sample data."""
    return start()


@pytest.fixture(scope="session")
def shared_ask() -> Iterator[Asking]:
    """Return the way to ask one served stand-in with the sample data, which no test changes."""
    with StandInServer() as server:
        yield Asking(server)


@pytest.fixture
def ask_documented(start: Callable[..., Asking]) -> Asking:
    """Return the way to ask a documented stand-in with the sample data."""
    return start(dialect="documented")
