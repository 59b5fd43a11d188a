"""What happens at which virtual moment, in that order, however time is cut into steps."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

Happening = Callable[[float], None]
"""Told the moment for which it was planned."""


class Schedule:
    """Happenings to come. Nothing in here looks at a clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Happening]] = []
        self._order = count()

    def plan(self, moment: float, happening: Happening) -> None:
        heappush(self._heap, (moment, next(self._order), happening))

    def run_until(self, moment: float) -> None:
        """Let everything happen that was planned up to and including the moment."""
        while self._heap and self._heap[0][0] <= moment:
            planned, _, happening = heappop(self._heap)
            happening(planned)
