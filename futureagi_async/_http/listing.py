"""A small list, all its pages one after another: run tests, executions, agents, versions."""

from collections.abc import Mapping
from typing import Any, TypeVar

import anyio.lowlevel

from futureagi_async._http.requester import Requester, RequestOptions
from futureagi_async._sansio.decoding.discovery import Shape, decode_envelope, decode_row
from futureagi_async._sansio.listing import PAGE_SIZE, ListReading, Page, Row
from futureagi_async._sansio.replies import Reply, is_past_the_end
from futureagi_async._sansio.requests import Request, list_request
from futureagi_async.errors import DecodingError, NotFoundError

T = TypeVar("T")

_SLICE_ROWS = 25
"""Rows decoded between two chances for other tasks to run."""


async def read_list(
    requester: Requester,
    shape: Shape[T],
    template: str,
    known: Mapping[str, str],
    chosen: Mapping[str, str | None],
    options: RequestOptions,
    *,
    strict: bool,
) -> tuple[T, ...]:
    """Read a list; ``known`` are the ids in its path, and fields of what is in it, ``chosen`` narrows it."""
    reading = ListReading[T]()
    while not reading.done:
        request = list_request(template, known, chosen, page=reading.page, limit=PAGE_SIZE)
        try:
            page = await _read_page(requester, shape, request, known, options, strict=strict)
        except NotFoundError as error:
            if reading.page == 1 or not is_past_the_end(error):
                raise
            reading.end()
        else:
            reading.take(page)
    return reading.newest_first()


async def _read_page(
    requester: Requester,
    shape: Shape[T],
    request: Request,
    known: Mapping[str, str],
    options: RequestOptions,
    *,
    strict: bool,
) -> Page[Row[T]]:
    async def decode(reply: Reply) -> Page[Any]:
        return decode_envelope(reply.body, request.endpoint)

    answer = await requester.call(request, decode, options)
    rows: list[Row[T]] = []
    for index, record in enumerate(answer.value.rows):
        if index and index % _SLICE_ROWS == 0:
            await anyio.lowlevel.checkpoint()
        try:
            rows.append(decode_row(shape, record, index, request.endpoint, strict=strict, **known))
        except DecodingError as error:
            failure = error.with_traceback(None)  # its frames hold the record
            break
    else:
        return Page(rows, answer.value.count, answer.value.more)
    failure.about("GET", request.path, answer.attempts, answer.received_at - answer.sent_at)
    failure.status, failure.request_id = answer.reply.status, answer.reply.request_id
    raise failure
