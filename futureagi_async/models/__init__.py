"""The values that reads return: calls, pages, KPIs and reports. No JSON, no HTTP."""

from futureagi_async.models.call import CallExecution
from futureagi_async.models.discovery import AgentDefinition, AgentVersion, RunTest, TestExecution
from futureagi_async.models.execution import ExecutionState, WaitTimeoutError
from futureagi_async.models.kpis import ExecutionKPIs
from futureagi_async.models.pages import CallPage, GroupPage, Page, RecordFailure, TestExecutionPage
from futureagi_async.models.reports import FetchReport, FetchResult, Outcome, SourceReport, Verdict
from futureagi_async.models.values import (
    Column,
    EvalOutput,
    JsonValue,
    ReadOnlyDict,
    Scenario,
    TranscriptTurn,
)

__all__ = [
    "AgentDefinition",
    "AgentVersion",
    "CallExecution",
    "CallPage",
    "Column",
    "EvalOutput",
    "ExecutionKPIs",
    "ExecutionState",
    "FetchReport",
    "FetchResult",
    "GroupPage",
    "JsonValue",
    "Outcome",
    "Page",
    "ReadOnlyDict",
    "RecordFailure",
    "RunTest",
    "Scenario",
    "SourceReport",
    "TestExecution",
    "TestExecutionPage",
    "TranscriptTurn",
    "Verdict",
    "WaitTimeoutError",
]
