"""Reads many ids at once, with one outcome per id. It owns every task that it starts."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Generic, TypeAlias, TypeVar

import anyio
import attrs

from futureagi_async._bulk.channel import Channel, open_channel
from futureagi_async._bulk.outages import OutageGate
from futureagi_async.errors import STOPS_JOB, FutureAGIError
from futureagi_async.models import Outcome

T = TypeVar("T")
FetchOne: TypeAlias = Callable[[str], Awaitable[T]]


async def collect_outcomes(ids: Sequence[str], outcomes: AsyncIterator[Outcome[T]]) -> list[Outcome[T]]:
    """Return one outcome for each id, in their order, including ids that were given twice."""
    found = {outcome.id: outcome async for outcome in outcomes}
    return [found[key] for key in ids]


@asynccontextmanager
async def open_outcomes(
    ids: Sequence[str],
    fetch_one: FetchOne[T],
    probe_one: FetchOne[T],
    gate: OutageGate,
    *,
    max_in_flight: int,
) -> AsyncIterator[AsyncIterator[Outcome[T]]]:
    """Read many ids at once, and yield one outcome per distinct id, as it arrives.

    An outcome counts as processed when the next one is requested; until then at most ``max_in_flight`` ids
    are in flight. If the server refuses the keys or is not trusted, the job stops: all remaining ids get that
    error, without a request. The same happens if the server stays down. ``probe_one`` is ``fetch_one``
    without retries.
    """
    reader = OutcomeReader(fetch_one, probe_one, gate)
    waiting = iter(dict.fromkeys(ids))

    async def read_all(channel: Channel[Outcome[T]]) -> None:
        async def work() -> None:
            for key in waiting:
                await channel.send(await reader.read(key))

        with gate:
            async with anyio.create_task_group() as tasks:
                for _ in range(min(max_in_flight, len(ids))):
                    tasks.start_soon(work)

    async with open_channel(read_all) as channel:
        yield channel


@attrs.define
class OutcomeReader(Generic[T]):
    """Reads ids one by one. If an error stops the job, all remaining ids get that error."""

    fetch_one: FetchOne[T]
    probe_one: FetchOne[T]
    gate: OutageGate
    stopper: FutureAGIError | None = None

    async def read(self, key: str) -> Outcome[T]:
        """Return the outcome of an id."""
        if self.stopper is not None:
            return Outcome(key, error=self.stopper)
        try:
            value, _ = await self.gate.ask(partial(self.fetch_one, key), partial(self.probe_one, key))
        except FutureAGIError as error:
            if isinstance(error, STOPS_JOB):
                self.stopper = error
            elif self.gate.is_over:
                self.stopper = self.gate.not_asked()
            return Outcome(key, error=error)
        return Outcome(key, value=value)
