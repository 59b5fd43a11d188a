"""Bodies built of sample records, and decoded as a session does it."""

import json
from typing import Any

from futureagi_async._sansio import decoding, requests
from futureagi_async.models import CallExecution, CallPage, RecordFailure
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls
from tests.sansio.samples import RUN_TEST, Row, changed

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


def decode_page(body: bytes, source: CallSource = RUN_TEST, *, page: int = 1, limit: int = 10) -> CallPage:
    """Decode a whole page at once, as a session does in slices."""
    endpoint = ENDPOINTS[type(source)]
    wire = decoding.decode_list(body, endpoint)
    decoded: list[CallExecution | RecordFailure] = []
    for start in range(0, len(wire.results), 2):
        decoded += decoding.decode_records(wire.results[start : start + 2], start, source, endpoint)
    return decoding.build_page(wire, decoded, source, page=page, limit=limit, endpoint=endpoint)


def decode_row(row: Row, source: CallSource = RUN_TEST) -> CallExecution:
    """Decode one row of a list."""
    page = decode_page(envelope([row]), source)
    assert not page.failures, page.failures
    return page.calls[0]


def decode_detail(row: Row) -> CallExecution:
    """Decode a detail."""
    return decoding.decode_call(json.dumps(row, ensure_ascii=False).encode(), requests.CALL)
