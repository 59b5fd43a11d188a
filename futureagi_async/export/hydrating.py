"""The second phase of an export with transcripts: the details of calls whose list withholds them."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from anyio.to_thread import run_sync

from futureagi_async.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    SessionMisuseError,
)
from futureagi_async.export.failures import describe
from futureagi_async.export.part_files import Lines
from futureagi_async.export.staging.entries import Detailed
from futureagi_async.export.staging.merging import extract
from futureagi_async.export.store import Workspace
from futureagi_async.models import CallExecution, Outcome

_JOB_STOPPERS = (AuthenticationError, PermissionDeniedError, SessionMisuseError)


class DetailReader(Protocol):
    """The part of `futureagi_async.Session` that reads details."""

    def stream_call_executions(
        self, ids: Iterable[str], /, *, max_outage: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome[CallExecution]]]:
        """Open a stream of one outcome an id."""
        ...


async def fetch_details(
    session: DetailReader, workspace: Workspace, on_safe: Callable[[], None], *, max_outage: float
) -> None:
    """Read each missing detail once, and make what is needed of it safe on the disk.

    A call that is gone by now and a detail that can't be read are noted, and stop nothing. Raises what
    says that no further request will be answered: refused keys, a closed session.
    """
    missing = workspace.state.missing_details()
    async with session.stream_call_executions(missing, max_outage=max_outage) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome.error, _JOB_STOPPERS):
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
