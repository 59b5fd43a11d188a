"""Many ids read at once: one outcome an id. Owns every task it starts."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Generic, TypeAlias, TypeVar

import anyio
import attrs

from futureagi_async._bulk.channel import Channel, open_channel
from futureagi_async._sansio.retrying import OutageDetector
from futureagi_async.errors import STOPS_JOB, APIConnectionError, FutureAGIError
from futureagi_async.models import Outcome

T = TypeVar("T")
FetchOne: TypeAlias = Callable[[str], Awaitable[T]]


async def fetch_outcomes(
    ids: Sequence[str], fetch_one: FetchOne[T], *, max_in_flight: int
) -> list[Outcome[T]]:
    """Read many ids at once: one outcome an id given, in that order; see `open_outcomes`."""
    async with open_outcomes(ids, fetch_one, max_in_flight=max_in_flight) as outcomes:
        found = {outcome.id: outcome async for outcome in outcomes}
    return [found[key] for key in ids]


@asynccontextmanager
async def open_outcomes(
    ids: Sequence[str], fetch_one: FetchOne[T], *, max_in_flight: int
) -> AsyncIterator[AsyncIterator[Outcome[T]]]:
    """Read many ids at once: outcomes as they come, one for each different id.

    An outcome is done with when the next one is asked for; no more than ``max_in_flight`` ids are under
    way until then. Keys that are refused and a server that can't be trusted stop the job: the ids not
    yet read end in that error, unasked. So do those that are left when the server is out; they can be
    asked for again.
    """
    job = _OutcomeReader(fetch_one)
    waiting = iter(dict.fromkeys(ids))

    async def read_all(channel: Channel[Outcome[T]]) -> None:
        async def work() -> None:
            for key in waiting:
                await channel.send(await job.read(key))

        async with anyio.create_task_group() as tasks:
            for _ in range(min(max_in_flight, len(ids))):
                tasks.start_soon(work)

    async with open_channel(read_all) as channel:
        yield channel


@attrs.define
class _OutcomeReader(Generic[T]):
    fetch_one: FetchOne[T]
    stopper: FutureAGIError | None = None
    watch: OutageDetector = attrs.field(factory=OutageDetector)

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
        if isinstance(error, STOPS_JOB):
            self.stopper = error
        elif self.watch.is_out:
            self.stopper = APIConnectionError(
                f"Not asked for: {self.watch.failures} requests in a row failed, the last with: {error}",
                retryable=True,
            )
