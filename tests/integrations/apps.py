"""An application with one route for each way to answer, and how the tests serve it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

import httpx2
import pytest
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
from tests.integrations.serving import ServedApp

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
