"""The real time of an answer: a fixed time and a time per row, on a number of workers."""

from __future__ import annotations

import asyncio
import time
from heapq import heapreplace

from attrs import field, frozen, validators


@frozen(kw_only=True)
class ServerCost:
    """The time that the server needs for answers, in real seconds.

    Each request uses one worker. If all workers are busy, requests wait in a queue. Like a synchronous
    server, a worker also finishes an answer after its client has disconnected.

    Attributes:
        seconds_per_request: the time of every request.
        seconds_per_row: the additional time of every returned row. A detail counts as one row. Deleted calls
            on a page cost nothing.
        workers: the number of requests that are answered at the same time.

    """

    seconds_per_request: float = field(default=0.0, validator=validators.ge(0))
    seconds_per_row: float = field(default=0.0, validator=validators.ge(0))
    workers: int = field(default=4, validator=validators.ge(1))


class Workers:
    """The queue of requests for the workers. It does not belong to an event loop."""

    def __init__(self, cost: ServerCost) -> None:
        self._cost = cost
        self._free_at = [0.0] * cost.workers

    def reserve(self, now: float, rows: int) -> float:
        """Assign the request to the first free worker. Return the seconds until it is answered."""
        begin = max(now, self._free_at[0])
        end = begin + self._cost.seconds_per_request + rows * self._cost.seconds_per_row
        heapreplace(self._free_at, end)
        return end - now

    async def answer(self, rows: int) -> None:
        """Wait until a worker has answered with a number of rows."""
        await asyncio.sleep(self.reserve(time.monotonic(), rows))
