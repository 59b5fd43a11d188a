"""The session of a FastAPI application: its lifespan and its dependencies."""

import json
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient

from futureagi_async.integrations.fastapi import (
    SessionDependency,
    session_lifespan,
)
from futureagi_async.testing import StandInServer
from tests.integrations.apps import make_app


def test_missing_keys_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are looked for when the application starts, not when it is imported or first asked."""
    for name in ("FI_API_KEY", "FI_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    app = make_app()
    with pytest.raises(ValueError, match="FI_API_KEY"), TestClient(app):
        pass


def test_arguments_of_the_lifespan_go_to_the_session(futureagi_server: StandInServer) -> None:
    """Keys and options can be given instead of taken from the environment."""
    server = futureagi_server
    app = FastAPI(lifespan=session_lifespan(server.api_key, server.secret_key, base_url=server.base_url))

    @app.get("/")
    async def read(session: SessionDependency) -> bool:
        return (await session.get_kpis(server.test_execution_ids[0])).total_calls is not None

    with TestClient(app) as client:
        assert client.get("/").json() is True


def test_wrong_arguments_of_the_lifespan_stop_the_start(upstream: StandInServer) -> None:
    """An option that Session does not know is a TypeError that names it."""
    with (
        pytest.raises(TypeError, match="max_inflight"),
        TestClient(FastAPI(lifespan=session_lifespan(max_inflight=3))),  # type: ignore[call-arg]
    ):
        pass


def test_an_application_can_start_again(upstream: StandInServer) -> None:
    """Each start opens a session of its own, as tests of an application do."""
    app, sessions = make_app(), []

    @app.get("/session")
    async def keep(session: SessionDependency) -> None:
        sessions.append(session)

    for _ in range(2):
        with TestClient(app) as client:
            client.get("/session")
            client.get("/session")
    assert sessions[0] is sessions[1]
    assert sessions[2] is sessions[3] is not sessions[0]


def test_it_composes_with_a_lifespan_of_ones_own(upstream: StandInServer) -> None:
    """A lifespan that yields what ours gives beside its own serves both, also to mounted applications."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        async with session_lifespan()(app) as state:
            yield {**state, "greeting": "hello"}

    inner = make_app()
    app = FastAPI(lifespan=lifespan)
    app.mount("/inner", inner)
    call_id = upstream.call_execution_ids()[0]
    with TestClient(app) as client:
        assert client.get(f"/inner/calls/{call_id}").json()["id"] == call_id


def test_websockets_get_the_session_too(upstream: StandInServer) -> None:
    """The dependency serves websocket endpoints as it serves requests."""
    app = FastAPI(lifespan=session_lifespan())

    @app.websocket("/kpis")
    async def send_kpis(websocket: WebSocket, session: SessionDependency) -> None:
        await websocket.accept()
        await websocket.send_bytes((await session.get_kpis(upstream.test_execution_ids[0])).raw)
        await websocket.close()

    with TestClient(app) as client, client.websocket_connect("/kpis") as websocket:
        assert json.loads(websocket.receive_bytes())["total_calls"] == 230


def test_keys_given_to_the_lifespan_are_not_shown() -> None:
    """Neither its repr nor a traceback with variables of a failed start shows them."""
    lifespan = session_lifespan("canary-key", "canary-secret", base_url="http://elsewhere.example")
    try:
        with TestClient(FastAPI(lifespan=lifespan)):
            raise AssertionError
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "http://" in shown
    assert "canary" not in shown + repr(lifespan)
