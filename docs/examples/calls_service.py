"""A service that shows Future AGI simulations to its own users.

    uvicorn calls_service:app

The keys come from FI_API_KEY and FI_SECRET_KEY. To try it without any, run ``futureagi-async serve``
beside it and set the variables that it prints.
"""

from collections import Counter
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Query, Response

from futureagi_async import CallStatus, RunTestCalls, Session, TestExecutionCalls, Timeouts, column
from futureagi_async.integrations.fastapi import (
    SessionDependency,
    install_error_handlers,
    json_response,
    ndjson_response,
    session_lifespan,
    session_with,
)

app = FastAPI(title="Simulated calls", lifespan=session_lifespan(max_in_flight=32))
install_error_handlers(app)

QuickSession = Annotated[Session, Depends(session_with(timeouts=Timeouts(deadline=2)))]
"""For what somebody waits for: two seconds with all tries, then 504."""

Score = Annotated[float, Query(ge=0, le=100)]


@app.get("/calls/{call_id}")
async def read_call(call_id: UUID, session: SessionDependency) -> Response:
    """One call in full detail."""
    return json_response(await session.get_call_execution(call_id))


@app.get("/test-executions/{execution_id}/kpis")
async def read_kpis(execution_id: UUID, session: QuickSession) -> Response:
    """The key figures of a test execution, quickly or not at all."""
    return json_response(await session.get_kpis(execution_id))


@app.get("/test-executions/{execution_id}/calls")
async def read_page(
    execution_id: UUID,
    session: QuickSession,
    page: Annotated[int, Query(ge=1)] = 1,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """One page, as a grid shows it."""
    return json_response(await session.get_test_execution(execution_id, page=page, limit=limit))


@app.get("/run-tests/{run_test_id}/calls")
async def read_calls(
    run_test_id: UUID, session: SessionDependency, status: CallStatus | None = None
) -> Response:
    """All calls of a run test, as they arrive. A body that ends properly is all of them."""
    return ndjson_response(session.stream_calls(RunTestCalls(run_test_id, status=status)))


@app.get("/test-executions/{execution_id}/failing")
async def read_failing(execution_id: UUID, session: SessionDependency, below: Score = 5) -> Response:
    """The calls that scored low; the last line says whether they are all."""
    low = TestExecutionCalls(execution_id, filters=[column("overall_score").between(0, below)])
    return ndjson_response(session.stream_calls(low, on_error="collect", deadline=60), report=True)


@app.get("/run-tests/{run_test_id}/statuses")
async def count_statuses(run_test_id: UUID, session: SessionDependency) -> dict[str, object]:
    """How many calls are in which state, and whether that is all of them."""
    statuses: Counter[str] = Counter()
    async with session.stream_calls(RunTestCalls(run_test_id)) as stream:
        async for call in stream:
            statuses[call.status or "unknown"] += 1
    return {"complete": stream.report.complete, "statuses": statuses}
