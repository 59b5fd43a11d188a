"""The first phases of an export: every page of the lists, then the details of what they withhold."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import anyio.lowlevel
from anyio.to_thread import run_sync

from futureagi_async.errors import STOPS_JOB, DecodingError, NotFoundError
from futureagi_async.export.formats.records import on_one_line_each, without_provider_data
from futureagi_async.export.manifest import describe
from futureagi_async.export.part_files import Lines
from futureagi_async.export.staging.entries import Detailed, Staged
from futureagi_async.export.staging.merging import extract
from futureagi_async.export.store import Workspace
from futureagi_async.models import CallExecution, CallPage, Outcome

_SLICE_RECORDS = 100  # encoded between two chances for other tasks to run


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


class Staging:
    """Takes steps one by one; each is safe before the next one is asked for."""

    def __init__(self, workspace: Workspace, on_safe: Callable[[], None]) -> None:
        self._workspace = workspace
        self._on_safe = on_safe

    async def take_all(self, steps: AsyncIterator[Step]) -> None:
        """Make every step safe; what came before an error is."""
        async for step in steps:
            await self._take(step)
            self._on_safe()

    async def _take(self, step: Step) -> None:
        calls = (*step.page.calls, *step.newer)
        lines = Lines()
        for start in range(0, len(calls), _SLICE_RECORDS):
            self._workspace.stage.place(self._encode(calls[start : start + _SLICE_RECORDS]), lines)
            await anyio.lowlevel.checkpoint()
        entry = Staged(
            source=step.index,
            mark=step.checkpoint,
            newer=len(step.newer),
            ids=[call.id for call in calls],
            keys=[call.timestamp.timestamp() if call.timestamp else None for call in calls],
            sizes=lines.sizes,
            sums=list(lines.sums.values()),
            details=list(map(_detail_wanted, calls)) if self._workspace.parameters.transcripts else [],
        )
        await run_sync(self._workspace.keep_staged, lines, entry)

    def _encode(self, calls: Sequence[CallExecution]) -> list[bytes]:
        keeps_all = self._workspace.parameters.include_provider_data
        raws = [
            call.raw if keeps_all or not call.may_hold_provider_data else without_provider_data(call.raw)
            for call in calls
        ]
        return on_one_line_each(raws)


def _detail_wanted(call: CallExecution) -> str | None:
    """Return whose detail holds the call's transcript, where the list withholds it."""
    try:
        return call.call_execution_id if call.transcript is None else None
    except DecodingError:
        return None  # it is there, in a shape that is not documented


class DetailReader(Protocol):
    """The part of `futureagi_async.Session` that reads details."""

    def stream_call_executions(
        self, ids: Iterable[str], /
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome[CallExecution]]]:
        """Open a stream of one outcome an id."""
        ...


async def fetch_details(session: DetailReader, workspace: Workspace, on_safe: Callable[[], None]) -> None:
    """Read each missing detail once, and make what is needed of it safe on the disk.

    A call that is gone by now and a detail that can't be read are noted, and stop nothing. Raises what
    says that no further request will be answered: refused keys, a closed session, a
    server that can't be trusted.
    """
    async with session.stream_call_executions(workspace.state.missing_details()) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome.error, STOPS_JOB):
                raise outcome.error
            await run_sync(_keep, workspace, outcome)
            on_safe()


def _keep(workspace: Workspace, outcome: Outcome[CallExecution]) -> None:
    lines = Lines()
    entry = Detailed(ids=[], sizes=lines.sizes, sums=[], gone=[], failed=[])
    if outcome.value is not None:
        workspace.details.place([extract(outcome.value.raw)], lines)
        entry.ids, entry.sums = [outcome.id], list(lines.sums.values())
    elif isinstance(outcome.error, NotFoundError):
        entry.gone = [outcome.id]
    elif outcome.error is not None:
        entry.failed = [describe(outcome.error, outcome.id)]
    workspace.keep_details(lines, entry)
