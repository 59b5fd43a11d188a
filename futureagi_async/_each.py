"""Many ids read at once: one outcome an id. Owns every task it starts."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from futureagi_async.bulk import JOB_STOPPERS
from futureagi_async.errors import FutureAGIError
from futureagi_async.models import Outcome

T = TypeVar("T")


async def fetch_each(
    ids: Sequence[str], fetch_one: Callable[[str], Awaitable[T]], *, max_in_flight: int
) -> list[Outcome[T]]:
    """Read many ids at once: one outcome an id given, in that order; each id is asked for once.

    Keys that are refused stop the job: the ids not yet read end in that error, unasked.
    """
    outcomes: dict[str, Outcome[T]] = {}
    waiting = iter(dict.fromkeys(ids))
    stoppers: list[FutureAGIError] = []

    async def work() -> None:
        for key in waiting:
            outcomes[key] = Outcome(key, error=stoppers[0]) if stoppers else await read(key)

    async def read(key: str) -> Outcome[T]:
        try:
            return Outcome(key, value=await fetch_one(key))
        except FutureAGIError as error:
            if isinstance(error, JOB_STOPPERS):
                stoppers.append(error)
            return Outcome(key, error=error)

    async with anyio.create_task_group() as tasks:
        for _ in range(min(max_in_flight, len(ids))):
            tasks.start_soon(work)
    return [outcomes[key] for key in ids]
