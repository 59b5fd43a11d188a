"""The first phase of an export: every page of the lists, made safe on the disk as it arrives."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import anyio
import anyio.lowlevel
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.to_thread import run_sync

from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.jsonl import on_one_line, without_provider_data
from futureagi_async.export.staging.entries import Staged
from futureagi_async.export.staging.workspace import Workspace
from futureagi_async.models import CallExecution, CallPage

_SLICE_RECORDS = 100  # encoded between two chances for other tasks to run
_WAITING_PAGES = 1  # of those that arrive while others are synced: what waits is read again after a crash


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
    def mark(self) -> bytes:
        """What to go on from."""
        ...


@attrs.define(frozen=True)
class _Arrived:
    """A page on its way to the disk."""

    entry: Staged
    records: list[bytes]


class Staging:
    """Takes steps; those that arrive during one sync become safe with the next one, all together."""

    def __init__(self, workspace: Workspace, on_safe: Callable[[], None]) -> None:
        self._workspace = workspace
        self._on_safe = on_safe
        self._failure: BaseException | None = None

    async def take_all(self, steps: AsyncIterator[Step]) -> None:
        """Make every step safe; also where this raises, all those that had arrived are."""
        send, receive = anyio.create_memory_object_stream[_Arrived](_WAITING_PAGES)
        async with receive, anyio.create_task_group() as tasks:
            tasks.start_soon(self._commit_all, receive, tasks.cancel_scope.cancel)
            async with send:
                await self._receive_all(steps, send)
        if self._failure is not None:
            raise self._failure  # outside of the group, which would wrap it

    async def _receive_all(self, steps: AsyncIterator[Step], send: MemoryObjectSendStream[_Arrived]) -> None:
        try:
            async for step in steps:
                await send.send(await self._arrive(step))
        except Exception as error:  # noqa: BLE001 - raised again when everything that arrived is safe
            self._failure = error

    async def _commit_all(
        self, receive: MemoryObjectReceiveStream[_Arrived], stop: Callable[[], None]
    ) -> None:
        try:
            async for arrived in receive:
                together = [arrived]
                while receive.statistics().current_buffer_used:
                    together.append(receive.receive_nowait())
                await run_sync(self._commit, together)
                self._on_safe()
        except Exception as error:  # noqa: BLE001 - raised again outside of the group
            self._failure = error
            stop()

    def _commit(self, together: Sequence[_Arrived]) -> None:
        stage = self._workspace.stage
        for arrived in together:
            arrived.entry.sums = stage.append(arrived.records)
        stage.sync()
        self._workspace.keep([arrived.entry for arrived in together])

    async def _arrive(self, step: Step) -> _Arrived:
        calls = (*step.page.calls, *step.newer)
        records: list[bytes] = []
        for start in range(0, len(calls), _SLICE_RECORDS):
            records += self._encode(calls[start : start + _SLICE_RECORDS])
            await anyio.lowlevel.checkpoint()
        entry = Staged(
            source=step.index,
            mark=step.mark,
            newer=len(step.newer),
            ids=[call.id for call in calls],
            keys=[call.timestamp.timestamp() if call.timestamp else None for call in calls],
            sizes=self._workspace.stage.sizes(records),
            sums=[],
            details=list(map(_detail_wanted, calls)) if self._workspace.parameters.transcripts else [],
        )
        return _Arrived(entry, records)

    def _encode(self, calls: Sequence[CallExecution]) -> list[bytes]:
        if self._workspace.parameters.include_provider_data:
            raws = [call.raw for call in calls]
        else:
            raws = [
                without_provider_data(call.raw) if call.may_hold_provider_data else call.raw for call in calls
            ]
        return list(map(on_one_line, raws))


def _detail_wanted(call: CallExecution) -> str | None:
    """Return whose detail holds the call's transcript, where the list withholds it."""
    try:
        return call.call_execution_id if call.transcript is None else None
    except DecodingError:
        return None  # it is there, in a shape that is not documented
