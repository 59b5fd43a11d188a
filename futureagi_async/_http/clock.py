"""The only module that reads a clock, sleeps, or makes random numbers. Tests pass another clock."""

import random
import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """The source of time and randomness of a session."""

    def monotonic(self) -> float:
        """Return seconds of a monotonic clock."""
        ...

    def jitter(self) -> float:
        """Return a random number in [0, 1)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Return seconds of a monotonic clock."""
        return time.monotonic()

    def jitter(self) -> float:
        """Return a random number in [0, 1)."""
        return random.random()  # noqa: S311 - spreads retries, guards nothing

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        await anyio.sleep(seconds)
