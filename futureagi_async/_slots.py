"""A changing number of slots, given to who is urgent first, else in turn."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio

_Line: TypeAlias = "OrderedDict[anyio.Event, None]"
"""Who waits; whoever gives up leaves it at once, from wherever they stand."""


class Slots:
    """Lets so many tasks in at a time. Waiting costs nothing; a free slot costs no turn of the event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._urgent: _Line = OrderedDict()
        self._others: _Line = OrderedDict()

    def set_limit(self, limit: int) -> None:
        """Change how many there are; with fewer, those that are taken are waited for."""
        self._limit = limit
        self._hand_out()

    @asynccontextmanager
    async def take(self, *, urgent: bool) -> AsyncIterator[None]:
        """Hold a slot for the length of the block."""
        if self._taken < self._limit:
            self._taken += 1
        else:
            await self._wait(self._urgent if urgent else self._others)
        try:
            yield
        finally:
            self._taken -= 1
            self._hand_out()

    async def _wait(self, line: _Line) -> None:
        turn = anyio.Event()
        line[turn] = None
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # cancelled with the slot already given
                self._taken -= 1
                self._hand_out()
            else:
                del line[turn]
            raise

    def _hand_out(self) -> None:
        while self._taken < self._limit and (line := self._urgent or self._others):
            self._taken += 1
            turn, _ = line.popitem(last=False)
            turn.set()
