"""What a service sends on: records as JSON, reports, and what an error is to the service's own users."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import attrs

from futureagi_async import (
    APITimeoutError,
    CallExecution,
    CallPage,
    ExecutionKPIs,
    ExportError,
    FetchReport,
    FetchResult,
    FutureAGIError,
    GroupPage,
    NotFoundError,
    RateLimitError,
    ResponseTooLargeError,
    SessionMisuseError,
    SourceReport,
    TestExecutionPage,
)
from futureagi_async.export.formats.jsonl import without_provider_data

Sendable: TypeAlias = CallExecution | ExecutionKPIs | CallPage | GroupPage | FetchResult
"""What has a JSON form to send on."""

_PAGE_FACTS = ("count", "has_next", "total_pages", "current_page")
_EXECUTION_FACTS = ("status", "provider", "agent_type")


@attrs.frozen
class ErrorAnswer:
    """What the user of a service is told: nothing about keys, addresses, or the vendor's own words."""

    status: int
    detail: str
    headers: Mapping[str, str] = attrs.field(factory=dict)


_ANSWERS = (
    (NotFoundError, ErrorAnswer(404, "Future AGI has nothing under this id.")),
    (SessionMisuseError, ErrorAnswer(500, "Internal Server Error")),
    (ExportError, ErrorAnswer(500, "Internal Server Error")),
    (APITimeoutError, ErrorAnswer(504, "Future AGI did not answer in time.")),
    (ResponseTooLargeError, ErrorAnswer(502, "The answer of Future AGI is too large.")),
    (FutureAGIError, ErrorAnswer(502, "Future AGI could not be read.")),
)
"""The first that fits."""


def answer_to(error: FutureAGIError) -> ErrorAnswer:
    """Say what an error is to the user of a service that reads from the API on their behalf."""
    if isinstance(error, RateLimitError) or (error.status == 503 and error.retry_after is not None):
        seconds = max(1, math.ceil(error.retry_after or 0))
        return ErrorAnswer(503, "Future AGI is busy; try again later.", {"Retry-After": str(seconds)})
    return next(answer for kind, answer in _ANSWERS if isinstance(error, kind))


def json_body(value: Sendable, *, include_provider_data: bool) -> bytes:
    """Return a value's JSON: the bytes that the server sent wherever there are some."""
    match value:
        case CallExecution():
            return _own_bytes(value, include_provider_data=include_provider_data)
        case ExecutionKPIs():
            return _sent(value.raw, "These key figures were")
        case CallPage():
            facts = _page_facts(value)
            calls = value.calls
        case GroupPage():
            return json.dumps({**_facts(value, _PAGE_FACTS), "groups": value.groups}).encode()
        case FetchResult():
            facts = report_facts(value.report)
            calls = tuple(value.calls)
        case _:
            raise TypeError(
                "json_response takes a call, key figures, a page or a FetchResult, "
                f"not {type(value).__name__}."
            )
    records = b",".join(_own_bytes(call, include_provider_data=include_provider_data) for call in calls)
    return b'%b, "calls": [%b]}' % (json.dumps(facts).encode().removesuffix(b"}"), records)


def incomplete(report: FetchReport) -> FutureAGIError:
    """Return the error that a list is which was sent on as far as it could be read."""
    missing = "; ".join(f"{one.source}: {one.reason}" for one in report if one.verdict != "complete")
    return FutureAGIError(f"The calls sent on are incomplete. {missing}")


def last_line(report: FetchReport, error: FutureAGIError | None = None) -> bytes:
    """Return the line that tells what the lines before it are: all, or what was read before an error."""
    facts = report_facts(report)
    if error is None:
        return json.dumps({"report": facts}).encode() + b"\n"
    told = {"detail": answer_to(error).detail, "report": {**facts, "complete": False}}
    return json.dumps(told).encode() + b"\n"


def report_facts(report: FetchReport) -> dict[str, object]:
    """Return a report as JSON values: whether all is there, and each source with its verdict."""
    return {"complete": report.complete, "sources": [_source_facts(source) for source in report]}


def _source_facts(report: SourceReport) -> dict[str, object]:
    as_of = report.complete_as_of
    return {
        "source": str(report.source),
        "verdict": report.verdict,
        "reason": report.reason,
        "expected": report.expected,
        "received": report.received,
        "complete_as_of": as_of.isoformat() if as_of is not None else None,
        "failures": [type(failure).__name__ for failure in report.failures],
    }


def _page_facts(page: CallPage) -> dict[str, object]:
    facts = _facts(page, _PAGE_FACTS)
    if isinstance(page, TestExecutionPage):
        facts |= _facts(page, _EXECUTION_FACTS)
    facts["failures"] = [
        {"index": failure.index, "id": failure.id, "json_path": failure.error.json_path}
        for failure in page.failures
    ]
    return facts


def _facts(value: object, names: Iterable[str]) -> dict[str, object]:
    return {name: getattr(value, name) for name in names}


def _own_bytes(call: CallExecution, *, include_provider_data: bool) -> bytes:
    raw = _sent(call.raw, f"The call {call.id} was")
    return raw if include_provider_data else without_provider_data(raw)


def _sent(raw: bytes, what: str) -> bytes:
    if not raw:
        raise ValueError(f"{what} built by hand and has no JSON of the server's to send on.")
    return raw
