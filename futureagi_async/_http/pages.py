"""Reads one page of a list, and decodes its records a slice at a time."""

from datetime import UTC, datetime

import anyio.lowlevel
import attrs

from futureagi_async._http.requester import Requester, RequestOptions
from futureagi_async._sansio import decoding, requests
from futureagi_async._sansio.covering.pages import PageRequest
from futureagi_async._sansio.decoding.wire import ListWire
from futureagi_async._sansio.replies import Decoded, Reply, check_filters_applied
from futureagi_async.filters import column
from futureagi_async.models import CallExecution, CallPage, RecordFailure
from futureagi_async.sources import CallSource, TestExecutionCalls

_SLICE_RECORDS = 25
"""Records decoded between two chances for other tasks to run."""


async def read_page(
    requester: Requester, options: RequestOptions, source: CallSource, wanted: PageRequest, *, eager: bool
) -> Decoded[CallPage]:
    """Read and decode one page; records that do not decode are among its ``failures``."""
    narrowed = _narrowed(source, wanted)
    request = requests.page_request(narrowed, page=wanted.page, limit=wanted.limit)

    def decode(reply: Reply) -> ListWire:
        wire = decoding.decode_list(reply.body, request.endpoint)
        check_filters_applied(narrowed, wire.error_messages or ())
        return wire

    answer = await requester.call(request, decode, options.once() if wanted.optional else options)
    wire = answer.value
    decoded: list[CallExecution | RecordFailure] = []
    for start in range(0, len(wire.results), _SLICE_RECORDS):
        records = wire.results[start : start + _SLICE_RECORDS]
        if start > 0:
            await anyio.lowlevel.checkpoint()
        decoded += decoding.decode_records(records, start, source, request.endpoint, eager=eager)
    call_page = decoding.build_page(
        wire, decoded, source, page=wanted.page, limit=wanted.limit, endpoint=request.endpoint
    )
    elapsed = answer.received_at - answer.sent_at
    for failure in call_page.failures:
        failure.error.about("GET", request.path, answer.attempts, elapsed)
        failure.error.status, failure.error.request_id = answer.reply.status, answer.reply.request_id
    return Decoded(call_page, answer.reply, answer.sent_at, answer.received_at, answer.attempts)


def _narrowed(source: CallSource, wanted: PageRequest) -> CallSource:
    """Return the source with the page's window of creation time among its filters."""
    if wanted.created is None or not isinstance(source, TestExecutionCalls):
        return source
    start, end = (datetime.fromtimestamp(moment, UTC) for moment in wanted.created)
    window = column("created_at").between(start, end)
    return attrs.evolve(source, filters=(*source.filters, window))


def restore_call(raw: bytes, source: CallSource) -> CallExecution:
    """Decode a record of a list again from its bytes."""
    return decoding.decode_record(raw, source, requests.page_request(source, page=1, limit=1).endpoint)
