"""The calls a change may fall on, with a random one at hand in constant time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from futureagi_async.testing._standin.data.records import Call

if TYPE_CHECKING:
    import random

    from futureagi_async.testing._standin.data.listing import Listing

_TRIES = 16
"""Calls with a change under way are passed over; when most have one, a change is left out instead."""


class Pool:
    """Calls that are in a list and delivered there; others are dropped when they are drawn."""

    def __init__(self, listing: Listing, draw: random.Random) -> None:
        self._listing = listing
        self._draw = draw
        self._calls = [row for row in listing.members if isinstance(row, Call) and self._may_change(row)]

    def add(self, call: Call) -> None:
        self._calls.append(call)

    def take(self) -> Call | None:
        """Draw a call that no change is under way for, and lock it."""
        for _ in range(_TRIES):
            call = self._draw_alive()
            if call is None or not call.locked:
                break
        else:
            return None
        if call is not None:
            call.locked = True
        return call

    def _draw_alive(self) -> Call | None:
        while self._calls:
            place = self._draw.randrange(len(self._calls))
            if self._may_change(self._calls[place]):
                return self._calls[place]
            self._calls[place] = self._calls[-1]
            self._calls.pop()
        return None

    def _may_change(self, call: Call) -> bool:
        return self._listing.holds(call) and self._listing.rule.delivers(call.state)
