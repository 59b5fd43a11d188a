"""An application with one route for each way to answer, and how the tests serve it."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Self
from uuid import UUID

import httpx2
import pytest
import uvicorn
from fastapi import Depends, FastAPI, Response

from futureagi_async import (
    RetryPolicy,
    RunTestCalls,
    Session,
    Timeouts,
)
from futureagi_async.integrations.fastapi import (
    SessionDependency,
    install_error_handlers,
    json_response,
    ndjson_response,
    session_lifespan,
    session_with,
)

ONCE = RetryPolicy(attempts=1)


def make_app(**options: Any) -> FastAPI:
    """Make an application with one route for each way to answer."""
    app = FastAPI(lifespan=session_lifespan(retry=ONCE, **options))
    install_error_handlers(app)

    @app.get("/calls/{call_id}")
    async def read_call(call_id: UUID, session: SessionDependency) -> Response:
        return json_response(await session.get_call_execution(call_id))

    @app.get("/quick/{execution_id}")
    async def read_kpis(
        execution_id: UUID,
        session: Annotated[Session, Depends(session_with(timeouts=Timeouts(deadline=0.05)))],
    ) -> Response:
        return json_response(await session.get_kpis(execution_id))

    @app.get("/runs/{run_id}")
    async def read_run(
        run_id: UUID, session: SessionDependency, size: int = 100, report: bool = False
    ) -> Response:
        return ndjson_response(session.stream_calls(RunTestCalls(run_id), page_size=size), report=report)

    return app


@contextmanager
def serve(app: Any) -> Iterator[httpx2.Client]:
    """Serve an application, and check afterwards that it left no task behind."""
    with ServedApp(app) as served, httpx2.Client(base_url=served.base_url) as client:
        yield client
    assert not served.tasks_left


def lines_of(response: httpx2.Response) -> list[dict[str, Any]]:
    """Decode a body of JSON Lines."""
    return [json.loads(line) for line in response.content.splitlines()]


def read_broken(client: httpx2.Client, path: str) -> list[dict[str, Any]]:
    """Return the lines of a body that breaks off, and assert that it does."""
    pieces: list[bytes] = []
    with client.stream("GET", path) as response:
        assert response.status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError, match="incomplete"):
            pieces.extend(response.iter_bytes())
    return [json.loads(line) for line in b"".join(pieces).splitlines()]


_ENDING_SECONDS = 2.0
"""What tasks that the server has cancelled may take to end."""


class ServedApp:
    """Serves an application as long as the block; afterwards `tasks_left` holds what did not end.

    ``turn_seconds`` collects what the event loop's thread spent of CPU in each turn of the loop: how long
    others had to wait for it, whatever else the machine was doing.
    """

    def __init__(self, app: Any, *, graceful_seconds: int | None = None) -> None:
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                port=0,
                lifespan="on",
                log_level="critical",
                ws="none",
                timeout_graceful_shutdown=graceful_seconds,
            )
        )
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="served-app")
        self._ready = threading.Event()
        self.tasks_left: set[asyncio.Task[Any]] = set()
        self.turn_seconds: list[float] = []
        self.port: int = self._socket.getsockname()[1]

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._server.server_state.connections)

    @property
    def tasks(self) -> int:
        """How many tasks there are besides the server's own."""
        asked = asyncio.run_coroutine_threadsafe(self._count_tasks(), self._loop)
        return asked.result(timeout=10)

    @contextmanager
    def watched(self) -> Iterator[list[float]]:
        """Collect ``turn_seconds`` within the block."""
        watching = asyncio.run_coroutine_threadsafe(self._watch(), self._loop)
        try:
            yield self.turn_seconds
        finally:
            watching.cancel()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Shut down as on SIGTERM, and wait until that is done."""
        self._server.should_exit = True
        self._thread.join(timeout=20)
        assert not self._thread.is_alive(), "the server does not stop"
        self._socket.close()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.001)
        self._own_tasks = len(asyncio.all_tasks())
        self._ready.set()
        await serving
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            _, self.tasks_left = await asyncio.wait(others, timeout=_ENDING_SECONDS)

    async def _count_tasks(self) -> int:
        return len(asyncio.all_tasks()) - self._own_tasks - 1

    async def _watch(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.turn_seconds.append(now - before)
            before = now
