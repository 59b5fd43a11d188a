"""Async bulk reads of Future AGI simulations that are complete, or say that they are not.

async with Session() as session:        # keys from FI_API_KEY and FI_SECRET_KEY
    result = await session.fetch_calls([RunTestCalls(run_test_id)])
    print(result.report.complete, len(result.calls))
"""

import importlib
from typing import TYPE_CHECKING

from futureagi_async._version import __version__

if TYPE_CHECKING:
    from futureagi_async._bulk.reading import Step
    from futureagi_async._bulk.stream import CallStream
    from futureagi_async._http.budgets import MinuteBudget
    from futureagi_async.budgets import Lease, RequestBudget
    from futureagi_async.errors import (
        APIConnectionError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        BudgetError,
        DecodingError,
        ExportError,
        FilterIgnoredError,
        FutureAGIError,
        InternalServerError,
        NameLookupError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RedirectError,
        ResponseTooLargeError,
        SessionMisuseError,
        SyncError,
        TLSError,
    )
    from futureagi_async.export import (
        ExportPlan,
        ExportProgress,
        ExportReport,
        Share,
        ShareReceipt,
        VerifyReport,
        commit_shares,
        export_calls,
        export_share,
        plan_export,
        plan_shares,
        verify_export,
    )
    from futureagi_async.filters import ColumnFilter, Filter, column
    from futureagi_async.models import (
        AgentDefinition,
        AgentVersion,
        CallExecution,
        CallPage,
        Column,
        EvalOutput,
        ExecutionKPIs,
        ExecutionState,
        FetchReport,
        FetchResult,
        GroupPage,
        JsonValue,
        Outcome,
        RecordFailure,
        RunTest,
        Scenario,
        SourceReport,
        TestExecution,
        TestExecutionPage,
        TranscriptTurn,
        WaitTimeoutError,
    )
    from futureagi_async.options import Consistency, OnError, Priority, RetryPolicy, Timeouts
    from futureagi_async.session import AgentType, Session, SimulationType, Validate
    from futureagi_async.source_names import (
        AgentVersionNamed,
        AllSources,
        LatestExecution,
        RunTestNamed,
        SourceKind,
        SourceName,
        parse_since,
    )
    from futureagi_async.source_sets import load_source_names, load_sources
    from futureagi_async.source_urls import source_from_url
    from futureagi_async.sources import (
        AgentVersionCalls,
        CallSource,
        RunTestCalls,
        TestExecutionCalls,
        source_from_dict,
    )
    from futureagi_async.sync import SourceSync, SyncReport, sync_calls
    from futureagi_async.tables import CallsTable, TableStream, fetch_table, read_export, stream_tables
    from futureagi_async.words import CallStatus, ExecutionStatus

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AgentDefinition",
    "AgentType",
    "AgentVersion",
    "AgentVersionCalls",
    "AgentVersionNamed",
    "AllSources",
    "AuthenticationError",
    "BadRequestError",
    "BudgetError",
    "CallExecution",
    "CallPage",
    "CallSource",
    "CallStatus",
    "CallStream",
    "CallsTable",
    "Column",
    "ColumnFilter",
    "Consistency",
    "DecodingError",
    "EvalOutput",
    "ExecutionKPIs",
    "ExecutionState",
    "ExecutionStatus",
    "ExportError",
    "ExportPlan",
    "ExportProgress",
    "ExportReport",
    "FetchReport",
    "FetchResult",
    "Filter",
    "FilterIgnoredError",
    "FutureAGIError",
    "GroupPage",
    "InternalServerError",
    "JsonValue",
    "LatestExecution",
    "Lease",
    "MinuteBudget",
    "NameLookupError",
    "NotFoundError",
    "OnError",
    "Outcome",
    "PermissionDeniedError",
    "Priority",
    "RateLimitError",
    "RecordFailure",
    "RedirectError",
    "RequestBudget",
    "ResponseTooLargeError",
    "RetryPolicy",
    "RunTest",
    "RunTestCalls",
    "RunTestNamed",
    "Scenario",
    "Session",
    "SessionMisuseError",
    "Share",
    "ShareReceipt",
    "SimulationType",
    "SourceKind",
    "SourceName",
    "SourceReport",
    "SourceSync",
    "Step",
    "SyncError",
    "SyncReport",
    "TLSError",
    "TableStream",
    "TestExecution",
    "TestExecutionCalls",
    "TestExecutionPage",
    "Timeouts",
    "TranscriptTurn",
    "Validate",
    "VerifyReport",
    "WaitTimeoutError",
    "__version__",
    "column",
    "commit_shares",
    "export_calls",
    "export_share",
    "fetch_table",
    "load_source_names",
    "load_sources",
    "parse_since",
    "plan_export",
    "plan_shares",
    "read_export",
    "source_from_dict",
    "source_from_url",
    "stream_tables",
    "sync_calls",
    "verify_export",
]

_HOMES = (
    "errors",
    "options",
    "budgets",
    "words",
    "filters",
    "sources",
    "source_names",
    "source_urls",
    "source_sets",
    "models",
    "session",
    "_http.budgets",
    "_bulk.stream",
    "_bulk.reading",
    "export",
    "tables",
    "sync",
)
"""Where the names are, the first that has one: small ones first. They are looked up when they are first used,
so that whoever needs but a part (a test's stand-in server, ``--help``) does not wait for the rest."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in __all__:
            for home in _HOMES:
                module = importlib.import_module(f"{__name__}.{home}")
                if hasattr(module, name):
                    globals()[name] = getattr(module, name)
                    return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
