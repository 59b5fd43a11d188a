"""The first phases of an export: reads every page of the lists, then details with missing transcripts."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Literal, Protocol

import anyio.lowlevel
import msgspec
from anyio.to_thread import run_sync

from futureagi_async._sansio.decoding.fragments import decode_fields
from futureagi_async.errors import STOPS_JOB, NotFoundError
from futureagi_async.export.formats.records import lacks_transcript
from futureagi_async.export.manifest import Failure
from futureagi_async.export.store import Page, Store
from futureagi_async.models import CallExecution, CallPage, FetchReport, Outcome
from futureagi_async.sources import CallSource

_SLICE_RECORDS = 100  # pages encoded before other tasks can run
_ADDED = ("transcript", "recordings")


class Step(Protocol):
    """The result of one page. See `futureagi_async.CallStream.steps`."""

    @property
    def index(self) -> int:
        """The place of the source among the given sources."""
        ...

    @property
    def page(self) -> CallPage:
        """The page, with only its new calls."""
        ...

    @property
    def newer(self) -> tuple[CallExecution, ...]:
        """Newer versions of earlier calls."""
        ...

    @property
    def checkpoint(self) -> bytes:
        """The checkpoint to continue from."""
        ...


class StepStream(Protocol):
    """The part of `futureagi_async.CallStream` that an export uses."""

    @property
    def report(self) -> FetchReport:
        """The report of what was read."""
        ...

    def steps(self) -> AsyncIterator[Step]:
        """Yield the new calls of every page."""
        ...

    def restore(self, raw: bytes, index: int) -> CallExecution:
        """Decode a record again."""
        ...


class DetailReader(Protocol):
    """The part of `futureagi_async.Session` that reads details."""

    def stream_call_executions(
        self, ids: Iterable[str], /, *, max_outage: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome[CallExecution]]]:
        """Open a stream with one outcome per id."""
        ...


class CallReader(DetailReader, Protocol):
    """The part of `futureagi_async.Session` that an export uses."""

    def stream_calls(
        self,
        sources: Iterable[CallSource] | CallSource,
        *,
        page_size: int,
        on_error: Literal["collect"],
        resume: Iterable[bytes],
        changed_since: Mapping[CallSource, datetime] | None,
        max_outage: float,
    ) -> AbstractAsyncContextManager[StepStream]:
        """Open a stream of the calls of all sources."""
        ...


async def store_pages(steps: AsyncIterator[Step], store: Store, on_safe: Callable[[], None]) -> None:
    """Write each page to the disk before the next request. After an error, earlier pages are kept."""
    parameters = store.parameters
    async for step in steps:
        calls = (*step.page.calls, *step.newer)
        records: list[bytes] = []
        for start in range(0, len(calls), _SLICE_RECORDS):
            some = calls[start : start + _SLICE_RECORDS]
            records += _encode(some, include_provider_data=parameters.include_provider_data)
            await anyio.lowlevel.checkpoint()
        page = Page(
            source=step.index,
            checkpoint=step.checkpoint,
            newer=len(step.newer),
            ids=[call.id for call in calls],
            changed=[call.timestamp.timestamp() if call.timestamp else None for call in calls],
            details=list(map(_wanted_detail, calls)) if parameters.transcripts else (),
        )
        await run_sync(store.add_page, page, records)
        on_safe()


def _encode(calls: Sequence[CallExecution], *, include_provider_data: bool) -> list[bytes]:
    return [call.as_sent(include_provider_data=include_provider_data) for call in calls]


def _wanted_detail(call: CallExecution) -> str | None:
    """Return the id whose detail has the transcript of the call, if the list does not include it."""
    return call.call_execution_id if lacks_transcript(call) else None


async def fetch_details(
    session: DetailReader, store: Store, on_safe: Callable[[], None], *, max_outage: float
) -> None:
    """Read each missing detail once, and write the needed part of it to the disk.

    A deleted call or an unreadable detail is recorded and does not stop the others. Raises errors after which
    no further request can succeed: refused keys, a closed session, an untrusted server.
    """
    missing = await run_sync(store.missing_details)
    on_safe()
    async with session.stream_call_executions(missing, max_outage=max_outage) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome.error, STOPS_JOB):
                raise outcome.error
            await run_sync(_keep, store, outcome)
            on_safe()


def _keep(store: Store, outcome: Outcome[CallExecution]) -> None:
    if outcome.value is not None:
        store.add_detail(outcome.id, extract(outcome.value.raw))
    elif isinstance(outcome.error, NotFoundError):
        store.add_gone(outcome.id)
    elif outcome.error is not None:
        store.add_failure(Failure.of(outcome.error, outcome.id))


def extract(detail: bytes) -> bytes:
    """Return the parts of a detail that a record may lack: an object with the transcript and recordings."""
    fields = decode_fields(detail)
    return msgspec.json.encode({key: fields[key] for key in _ADDED if key in fields})
