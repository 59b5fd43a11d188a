"""The second phase of an export with transcripts: the details of calls whose list withholds them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from anyio.to_thread import run_sync

from futureagi_async.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    SessionMisuseError,
)
from futureagi_async.export.failures import describe
from futureagi_async.export.staging.entries import Detailed
from futureagi_async.export.staging.merging import extract
from futureagi_async.export.staging.workspace import Workspace
from futureagi_async.models import CallExecution, Outcome

_JOB_STOPPERS = (AuthenticationError, PermissionDeniedError, SessionMisuseError)
_SLICE_DETAILS = 64  # asked for at once, and read again after a crash: some seconds of work


class DetailReader(Protocol):
    """The part of `futureagi_async.Session` that reads details."""

    async def fetch_call_executions(self, ids: Iterable[str], /) -> list[Outcome[CallExecution]]:
        """Return one outcome an id."""
        ...


async def fetch_details(session: DetailReader, workspace: Workspace, on_safe: Callable[[], None]) -> None:
    """Read each missing detail once, and make what is needed of it safe on the disk.

    A call that is gone by now and a detail that can't be read are noted, and stop nothing. Raises what
    says that no further request will be answered: refused keys, a closed session.
    """
    missing = workspace.state.missing_details()
    for start in range(0, len(missing), _SLICE_DETAILS):
        outcomes = await session.fetch_call_executions(missing[start : start + _SLICE_DETAILS])
        await run_sync(_keep, workspace, outcomes)
        on_safe()
        for outcome in outcomes:
            if isinstance(outcome.error, _JOB_STOPPERS):
                raise outcome.error


def _keep(workspace: Workspace, outcomes: Sequence[Outcome[CallExecution]]) -> None:
    read = {outcome.id: extract(outcome.value.raw) for outcome in outcomes if outcome.value is not None}
    lines = list(read.values())
    errors = {outcome.id: outcome.error for outcome in outcomes if outcome.error is not None}
    failed = {id_: error for id_, error in errors.items() if not isinstance(error, NotFoundError)}
    sums = workspace.details.append(lines)
    workspace.details.sync()
    entry = Detailed(
        ids=list(read),
        sizes=workspace.details.sizes(lines),
        sums=sums,
        gone=[id_ for id_ in errors if id_ not in failed],
        failed=[
            describe(error, id_) for id_, error in failed.items() if not isinstance(error, _JOB_STOPPERS)
        ],
    )
    workspace.keep([entry])
