"""Pages of lists: from request to decoded records, a slice at a time, filtered as was asked."""

from collections import defaultdict
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import anyio
import anyio.lowlevel
import attrs

from futureagi_async._http.requester import Requester, RequestOptions
from futureagi_async._sansio import decoding, filtering, requests
from futureagi_async._sansio.covering.pages import PageRequest
from futureagi_async._sansio.decoding import Checks, ListBody
from futureagi_async._sansio.replies import Decoded, Reply
from futureagi_async.errors import BadRequestError, InternalServerError
from futureagi_async.filters import Filter, column
from futureagi_async.models import CallExecution, CallPage, Column, RecordFailure, TestExecutionPage
from futureagi_async.sources import CallSource, TestExecutionCalls

T = TypeVar("T")

_SLICE_RECORDS = 25
"""Records decoded between two chances for other tasks to run."""


async def read_columns(
    requester: Requester,
    test_execution_id: str,
    options: RequestOptions,
    conclude: Callable[[tuple[Column, ...]], T],
) -> T:
    """Read which columns a test execution has, by the smallest page of its calls, and conclude from them."""
    request = requests.page_request(TestExecutionCalls(test_execution_id), page=1, limit=1)

    async def decode(reply: Reply) -> T:
        body = decoding.decode_list(reply.body, request.endpoint)
        return conclude(decoding.decode_columns(body, request.endpoint, Checks()))

    return (await requester.call(request, decode, options)).value


class FilterCheck:
    """Sees to it that the server applies the filters of what is read, and remembers what it found out.

    One of them serves a bulk read: each source costs a request at most where a filter names an evaluation,
    and one for each column that the test execution does not list.
    """

    def __init__(self, requester: Requester, options: RequestOptions) -> None:
        self._requester = requester
        self._options = options
        self._resolved: dict[CallSource, TestExecutionCalls] = {}
        self._applied: set[tuple[str, Filter]] = set()
        self._turns: defaultdict[CallSource, anyio.Lock] = defaultdict(anyio.Lock)
        """Many pages of a source are read at once, but one of them is enough to ask."""

    async def resolve(self, source: TestExecutionCalls) -> TestExecutionCalls:
        """Return what to ask for: the source itself, or with ids in place of evaluations' names.

        Raises `FilterIgnoredError` for a name that is none, or that of several evaluations.
        """
        if not filtering.names_evaluations(source):
            return source
        async with self._turns[source]:
            if source not in self._resolved:
                self._resolved[source] = await read_columns(
                    self._requester,
                    source.test_execution_id,
                    self._options,
                    partial(filtering.resolve_evaluations, source),
                )
        return self._resolved[source]

    async def check_page(self, source: CallSource, page: CallPage) -> None:
        """Check what a page was asked for with, as `check_columns` does; an empty page hides nothing."""
        has_rows = bool(page.calls or page.failures)
        if has_rows and isinstance(source, TestExecutionCalls) and isinstance(page, TestExecutionPage):
            await self.check_columns(source, page.column_order)

    async def check_columns(self, source: TestExecutionCalls, columns: tuple[Column, ...]) -> None:
        """Raise `FilterIgnoredError` where the server ignored a filter of a resolved source without a word.

        ``columns`` came with its answer. A column that is not among them is tried out, with a value that no
        call has: only if calls come back all the same, the server ignored it.
        """
        doubtful = filtering.doubtful_filters(source, columns)
        if not doubtful:
            return
        async with self._turns[source]:
            for item in doubtful:
                if (source.test_execution_id, item) not in self._applied:
                    await self._try_out(source, item, columns)
                    self._applied.add((source.test_execution_id, item))

    async def _try_out(self, source: TestExecutionCalls, item: Filter, columns: tuple[Column, ...]) -> None:
        request = requests.page_request(filtering.probe(source, item), page=1, limit=1)

        async def decode(reply: Reply) -> None:
            body = decoding.decode_list(reply.body, request.endpoint)
            if body.wire.count > 0 and not body.error_messages:
                raise filtering.unknown_column(item, columns)

        try:
            await self._requester.call(request, decode, self._options)
        except (BadRequestError, InternalServerError) as error:
            if error.retryable:
                raise
            # the server looked at the column, or it could not have refused the value


async def read_page(
    requester: Requester,
    options: RequestOptions,
    filter_check: FilterCheck,
    source: CallSource,
    wanted: PageRequest,
    checks: Checks,
) -> Decoded[CallPage]:
    """Read and decode one page; records that do not decode are among its ``failures``."""
    request = requests.page_request(source, page=wanted.page, limit=wanted.limit)  # or what is wrong about it
    asked_for = source
    if isinstance(source, TestExecutionCalls):
        asked_for = _narrowed(await filter_check.resolve(source), wanted)
        if asked_for is not source:
            request = requests.page_request(asked_for, page=wanted.page, limit=wanted.limit)

    async def decode(reply: Reply) -> ListBody:
        async with requester.decoding:
            body = await _in_turns(decoding.decode_list_in_turns(reply.body, request.endpoint, checks))
        filtering.check_filters_applied(asked_for, body.error_messages)
        return body

    answer = await requester.call(request, decode, options.once() if wanted.optional else options)
    elapsed = answer.received_at - answer.sent_at
    async with requester.decoding:
        page = await _decode_page(answer.value, source, wanted, checks, elapsed)
    await filter_check.check_page(asked_for, page)
    for failure in page.failures:
        failure.error.about("GET", request.path, answer.attempts, elapsed)
        failure.error.status, failure.error.request_id = answer.reply.status, answer.reply.request_id
    return Decoded(page, answer.reply, answer.sent_at, answer.received_at, answer.attempts)


async def _in_turns(turns: Generator[None, None, T]) -> T:
    """Return what a generator returns; where it yields, other tasks run."""
    while True:
        try:
            next(turns)
        except StopIteration as end:
            result: T = end.value
            return result
        await anyio.lowlevel.checkpoint()


async def _decode_page(
    body: ListBody, source: CallSource, wanted: PageRequest, checks: Checks, elapsed: float
) -> CallPage:
    endpoint = requests.endpoint_of(source)
    decoded: list[CallExecution | RecordFailure] = []
    results = body.results
    for start in range(0, len(results), _SLICE_RECORDS):
        records = results[start : start + _SLICE_RECORDS]
        if start > 0 or len(body.cut) >= _SLICE_RECORDS:  # which took a while
            await anyio.lowlevel.checkpoint()
        decoded += decoding.decode_records(records, start, source, endpoint, checks)
    return decoding.build_page(
        body,
        decoded,
        source,
        page=wanted.page,
        limit=wanted.limit,
        endpoint=endpoint,
        checks=checks,
        elapsed=elapsed,
    )


def _narrowed(source: TestExecutionCalls, wanted: PageRequest) -> TestExecutionCalls:
    """Return the source with the page's window of creation time among its filters."""
    if wanted.created is None:
        return source
    start, end = (datetime.fromtimestamp(moment, UTC) for moment in wanted.created)
    window = column("created_at").between(start, end)
    return attrs.evolve(source, filters=(*source.filters, window))


def restore_call(raw: bytes, source: CallSource, *, checks: Checks) -> CallExecution:
    """Decode a record of a list again from its bytes."""
    return decoding.decode_record(raw, source, requests.endpoint_of(source), checks)
