"""Bodies built of sample records, and decoded as a session does it."""

import json
from typing import Any

from futureagi_async._sansio import decoding, requests
from futureagi_async._sansio.decoding import Checks
from futureagi_async.models import CallExecution, CallPage, RecordFailure
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls
from tests.sansio.samples import RUN_TEST, Row, changed

LENIENT, STRICT = Checks(), Checks(strict=True)
ENDPOINTS = {
    RunTestCalls: requests.RUN_TEST_CALLS,
    AgentVersionCalls: requests.VERSION_CALLS,
    TestExecutionCalls: requests.TEST_EXECUTION,
}


def envelope(rows: list[Any], **changes: Any) -> bytes:
    """Build a list's body."""
    body = {
        "count": len(rows),
        "next": None,
        "previous": None,
        "results": rows,
        "total_pages": 1,
        "current_page": 1,
    }
    return json.dumps(changed(body, changes), ensure_ascii=False).encode()


def decode_page(
    body: bytes, source: CallSource = RUN_TEST, *, page: int = 1, limit: int = 10, checks: Checks = LENIENT
) -> CallPage:
    """Decode a whole page at once, as a session does in slices."""
    endpoint = ENDPOINTS[type(source)]
    found = decoding.decode_list(body, endpoint, checks)
    decoded: list[CallExecution | RecordFailure] = []
    for start in range(0, len(found.results), 2):
        decoded += decoding.decode_records(found.results[start : start + 2], start, source, endpoint, checks)
    return decoding.build_page(
        found, decoded, source, page=page, limit=limit, endpoint=endpoint, checks=checks
    )


def decode_row(row: Row, source: CallSource = RUN_TEST, checks: Checks = LENIENT) -> CallExecution:
    """Decode one row of a list."""
    page = decode_page(envelope([row]), source, checks=checks)
    assert not page.failures, page.failures
    return page.calls[0]


def decode_detail(row: Row, checks: Checks = LENIENT) -> CallExecution:
    """Decode a detail."""
    return decoding.decode_call(json.dumps(row, ensure_ascii=False).encode(), requests.CALL, checks)
