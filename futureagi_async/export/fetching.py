"""The first phases of an export: every page of the lists, then the details of what they withhold."""

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

_SLICE_RECORDS = 100  # encoded between two chances for other tasks to run
_ADDED = ("transcript", "recordings")


class Step(Protocol):
    """What one page brought; see `futureagi_async.CallStream.steps`."""

    @property
    def index(self) -> int:
        """The source's place among those given."""
        ...

    @property
    def page(self) -> CallPage:
        """The page with its new calls only."""
        ...

    @property
    def newer(self) -> tuple[CallExecution, ...]:
        """Newer versions of calls that came before."""
        ...

    @property
    def checkpoint(self) -> bytes:
        """What to go on from."""
        ...


class StepStream(Protocol):
    """The part of `futureagi_async.CallStream` that an export uses."""

    @property
    def report(self) -> FetchReport:
        """What was read."""
        ...

    def steps(self) -> AsyncIterator[Step]:
        """Yield every page with what is new of it."""
        ...

    def restore(self, raw: bytes, index: int) -> CallExecution:
        """Decode a record again."""
        ...


class DetailReader(Protocol):
    """The part of `futureagi_async.Session` that reads details."""

    def stream_call_executions(
        self, ids: Iterable[str], /, *, max_outage: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome[CallExecution]]]:
        """Open a stream of one outcome an id."""
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
        """Open a stream over the calls of all sources."""
        ...


async def store_pages(steps: AsyncIterator[Step], store: Store, on_safe: Callable[[], None]) -> None:
    """Make each page safe on the disk before the next one is asked for; what came before an error is."""
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
    """Return whose detail holds the call's transcript, where the list withholds it."""
    return call.call_execution_id if lacks_transcript(call) else None


async def fetch_details(
    session: DetailReader, store: Store, on_safe: Callable[[], None], *, max_outage: float
) -> None:
    """Read each missing detail once, and make what is needed of it safe on the disk.

    A call that is gone by now and a detail that can't be read are noted, and stop nothing. Raises what says
    that no further request will be answered: refused keys, a closed session, a server that can't be trusted.
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
    """Return of a call's detail what a record may lack: an object with its transcript and recordings."""
    fields = decode_fields(detail)
    return msgspec.json.encode({key: fields[key] for key in _ADDED if key in fields})
