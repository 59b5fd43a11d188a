"""What an answer costs in real time: a fixed time and a time for each row, on a number of workers."""

from __future__ import annotations

import asyncio
import time
from heapq import heapreplace

from attrs import field, frozen, validators


@frozen(kw_only=True)
class ServerCost:
    """What answering costs, in real seconds: rows are dear, places without a row are free.

    Each request keeps one of the workers busy; while all are, requests wait in line. As with a synchronous
    server, a worker also finishes an answer that nobody waits for any more.

    Attributes:
        seconds_per_request: of every request, whatever it answers.
        seconds_per_row: of every row returned; a detail is one, an empty page is none.
        workers: how many requests are answered at once.

    """

    seconds_per_request: float = field(default=0.0, validator=validators.ge(0))
    seconds_per_row: float = field(default=0.0, validator=validators.ge(0))
    workers: int = field(default=4, validator=validators.ge(1))


class Workers:
    """The line of requests in front of the workers. It belongs to no event loop."""

    def __init__(self, cost: ServerCost) -> None:
        self._cost = cost
        self._free_at = [0.0] * cost.workers

    def reserve(self, now: float, rows: int) -> float:
        """Give the request to the worker that is free first; return the seconds until it is answered."""
        begin = max(now, self._free_at[0])
        end = begin + self._cost.seconds_per_request + rows * self._cost.seconds_per_row
        heapreplace(self._free_at, end)
        return end - now

    async def answer(self, rows: int) -> None:
        """Wait until a worker has answered with so many rows."""
        await asyncio.sleep(self.reserve(time.monotonic(), rows))
