"""The FastAPI integration as its users see it; type-checked, never run."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, assert_type

from fastapi import Depends, FastAPI, Response

from futureagi_async import CallExecution, RunTestCalls, Session, Timeouts
from futureagi_async.integrations.fastapi import (
    SessionDependency,
    get_session,
    install_error_handlers,
    json_response,
    ndjson_response,
    session_lifespan,
    session_with,
)

app = FastAPI(lifespan=session_lifespan("key", base_url=None, max_in_flight=8, timeouts=Timeouts(deadline=2)))
install_error_handlers(app)

session_lifespan(max_inflight=8)  # type: ignore[call-arg]
session_lifespan(max_in_flight="8")  # type: ignore[arg-type]
session_with(timeouts=2)  # type: ignore[arg-type]
session_with(priority="urgent")  # type: ignore[arg-type]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
    """Compose with a lifespan of one's own."""
    async with session_lifespan()(app) as state:
        yield {**state, "more": 1}


composed = FastAPI(lifespan=lifespan)


async def handler(
    session: SessionDependency,
    quick: Annotated[Session, Depends(session_with(timeouts=Timeouts(deadline=1), priority="interactive"))],
    plain: Annotated[Session, Depends(get_session)],
) -> Response:
    """Read, and answer."""
    assert_type(session, Session)
    call = assert_type(await quick.get_call_execution("id"), CallExecution)
    json_response(await plain.fetch_calls(RunTestCalls("id")), include_provider_data=True)
    json_response({"id": call.id})  # type: ignore[arg-type]
    ndjson_response(session.stream_calls(RunTestCalls("id")), report=True)
    return json_response(call)
