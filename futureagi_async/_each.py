"""Many ids read at once: one outcome an id. Owns every task it starts."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import anyio
import attrs

from futureagi_async._fanout import JOB_STOPPERS
from futureagi_async._sansio.retrying import OutageWatch
from futureagi_async.errors import APIConnectionError, FutureAGIError
from futureagi_async.models import Outcome

T = TypeVar("T")


async def fetch_each(
    ids: Sequence[str], fetch_one: Callable[[str], Awaitable[T]], *, max_in_flight: int
) -> list[Outcome[T]]:
    """Read many ids at once: one outcome an id given, in that order; each id is asked for once.

    Keys that are refused and a server that can't be trusted stop the job: the ids not yet read end in
    that error, unasked. So do those that are left when the server is out; they can be asked for again.
    """
    job = _Job(fetch_one)
    waiting = iter(dict.fromkeys(ids))

    async def work() -> None:
        for key in waiting:
            job.outcomes[key] = await job.read(key)

    async with anyio.create_task_group() as tasks:
        for _ in range(min(max_in_flight, len(ids))):
            tasks.start_soon(work)
    return [job.outcomes[key] for key in ids]


@attrs.define
class _Job(Generic[T]):
    fetch_one: Callable[[str], Awaitable[T]]
    outcomes: dict[str, Outcome[T]] = attrs.field(factory=dict)
    stopper: FutureAGIError | None = None
    watch: OutageWatch = attrs.field(factory=OutageWatch)

    async def read(self, key: str) -> Outcome[T]:
        if self.stopper is not None:
            return Outcome(key, error=self.stopper)
        try:
            value = await self.fetch_one(key)
        except FutureAGIError as error:
            self._take_note(error)
            return Outcome(key, error=error)
        self.watch.succeeded()
        return Outcome(key, value=value)

    def _take_note(self, error: FutureAGIError) -> None:
        self.watch.failed(error)
        if isinstance(error, JOB_STOPPERS):
            self.stopper = error
        elif self.watch.is_out:
            self.stopper = APIConnectionError(
                f"Not asked for: {self.watch.failures} requests in a row failed, the last with: {error}",
                retryable=True,
            )
