"""One page of a list: from request to decoded records, a slice at a time."""

from datetime import UTC, datetime

import anyio.lowlevel
import attrs

from futureagi_async._http.requester import Requester, RequestOptions
from futureagi_async._sansio import decoding, requests
from futureagi_async._sansio.covering.pages import PageRequest
from futureagi_async._sansio.decoding import Checks, ListBody
from futureagi_async._sansio.replies import Decoded, Reply, check_filters_applied
from futureagi_async.filters import column
from futureagi_async.models import CallExecution, CallPage, RecordFailure
from futureagi_async.options import RetryPolicy
from futureagi_async.sources import CallSource, TestExecutionCalls

_ONCE = RetryPolicy(attempts=1)
_SLICE_RECORDS = 25
"""Records decoded between two chances for other tasks to run."""


async def read_page(
    requester: Requester, source: CallSource, ask: PageRequest, options: RequestOptions, checks: Checks
) -> Decoded[CallPage]:
    """Read and decode one page; records that do not decode are among its ``failures``."""
    narrowed = _narrowed(source, ask)
    request = requests.page_request(narrowed, page=ask.page, limit=ask.limit)

    def decode(reply: Reply) -> ListBody:
        body = decoding.decode_list(reply.body, request.endpoint, checks)
        check_filters_applied(narrowed, body.error_messages)
        return body

    if ask.optional:
        options = attrs.evolve(options, retry=_ONCE)
    answer = await requester.call(request, decode, options)
    body = answer.value
    decoded: list[CallExecution | RecordFailure] = []
    for start in range(0, len(body.results), _SLICE_RECORDS):
        records = body.results[start : start + _SLICE_RECORDS]
        if start > 0:
            await anyio.lowlevel.checkpoint()
        decoded += decoding.decode_records(records, start, source, request.endpoint, checks)
    call_page = decoding.build_page(
        body,
        decoded,
        source,
        page=ask.page,
        limit=ask.limit,
        endpoint=request.endpoint,
        checks=checks,
    )
    elapsed = answer.received_at - answer.sent_at
    for failure in call_page.failures:
        failure.error.about("GET", request.path, answer.attempts, elapsed)
        failure.error.status, failure.error.request_id = answer.reply.status, answer.reply.request_id
    return Decoded(call_page, answer.reply, answer.sent_at, answer.received_at, answer.attempts)


def _narrowed(source: CallSource, ask: PageRequest) -> CallSource:
    if ask.created is None or not isinstance(source, TestExecutionCalls):
        return source
    start, end = (datetime.fromtimestamp(moment, UTC) for moment in ask.created)
    window = column("created_at").between(start, end)
    return attrs.evolve(source, filters=(*source.filters, window))


def restore_call(raw: bytes, source: CallSource, *, checks: Checks) -> CallExecution:
    """Decode a record of a list again from its bytes."""
    endpoint = requests.page_request(source, page=1, limit=1).endpoint
    return decoding.decode_record(raw, source, endpoint, checks)
