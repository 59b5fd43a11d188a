"""How fast a number grows."""

from collections import deque

_WINDOW_SECONDS = 15.0
_SAMPLE_SECONDS = 0.25  # closer ones make nothing more exact


class Meter:
    """Remembers the last seconds; what was there at the first look counts for no speed."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, seconds: float, count: int) -> None:
        """Take note of how many there are at a time."""
        samples = self._samples
        if len(samples) > 1 and seconds - samples[-2][0] < _SAMPLE_SECONDS:
            samples.pop()
        samples.append((seconds, count))
        while len(samples) > 2 and samples[1][0] < seconds - _WINDOW_SECONDS:
            samples.popleft()

    def rate(self, now: float) -> float:
        """Return how many a second came lately; 0 before anything came."""
        if not self._samples:
            return 0.0
        began, first = self._samples[0]
        return (self._samples[-1][1] - first) / max(now - began, _SAMPLE_SECONDS)
