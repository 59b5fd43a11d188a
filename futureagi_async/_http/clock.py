"""The one place that reads a clock, sleeps or rolls dice; tests hand in another."""

import random
import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """Time and chance as a session sees them."""

    def monotonic(self) -> float:
        """Return seconds that only go forward."""
        ...

    def jitter(self) -> float:
        """Return a random number in [0, 1)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Return seconds that only go forward."""
        return time.monotonic()

    def jitter(self) -> float:
        """Return a random number in [0, 1)."""
        return random.random()  # noqa: S311 - spreads retries, guards nothing

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)
