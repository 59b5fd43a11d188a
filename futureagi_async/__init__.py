"""Async bulk reads of Future AGI simulations that are complete, or say that they are not.

async with Session() as session:        # keys from FI_API_KEY and FI_SECRET_KEY
    result = await session.fetch_calls([RunTestCalls(run_test_id)])
    print(result.report.complete, len(result.calls))
"""

from futureagi_async._version import __version__
from futureagi_async.bulk import CallStream
from futureagi_async.columns import ColumnFilter, column
from futureagi_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    DecodingError,
    ExportError,
    FilterIgnoredError,
    FutureAGIError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ResponseTooLargeError,
    SessionMisuseError,
    TLSError,
)
from futureagi_async.export import ExportReport, export_calls
from futureagi_async.filters import Filter
from futureagi_async.models import (
    CallExecution,
    CallPage,
    CallStatus,
    Column,
    EvalOutput,
    ExecutionKPIs,
    ExecutionStatus,
    FetchReport,
    FetchResult,
    GroupPage,
    JsonValue,
    Outcome,
    RecordFailure,
    Scenario,
    SourceReport,
    TestExecutionPage,
    TranscriptTurn,
)
from futureagi_async.options import RetryPolicy, Timeouts
from futureagi_async.session import Session
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AgentVersionCalls",
    "AuthenticationError",
    "BadRequestError",
    "CallExecution",
    "CallPage",
    "CallSource",
    "CallStatus",
    "CallStream",
    "Column",
    "ColumnFilter",
    "DecodingError",
    "EvalOutput",
    "ExecutionKPIs",
    "ExecutionStatus",
    "ExportError",
    "ExportReport",
    "FetchReport",
    "FetchResult",
    "Filter",
    "FilterIgnoredError",
    "FutureAGIError",
    "GroupPage",
    "InternalServerError",
    "JsonValue",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "RateLimitError",
    "RecordFailure",
    "RedirectError",
    "ResponseTooLargeError",
    "RetryPolicy",
    "RunTestCalls",
    "Scenario",
    "Session",
    "SessionMisuseError",
    "SourceReport",
    "TLSError",
    "TestExecutionCalls",
    "TestExecutionPage",
    "Timeouts",
    "TranscriptTurn",
    "__version__",
    "column",
    "export_calls",
]
