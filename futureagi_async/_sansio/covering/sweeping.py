"""The front sweep: page 1 again, large enough to hold all that changed since the pass began."""

from math import ceil

from futureagi_async._sansio.covering.lists import Ask, Seen

_LEAST_GROWTH = 1.3
_MOST_GROWTH = 4.0


class Sweep:
    """Chooses how much of the front to read."""

    def __init__(self, page_size: int, largest_limit: int) -> None:
        self.exhausted = False
        """Whether the largest page did not reach far enough."""
        self._limit = page_size
        self._largest_limit = largest_limit
        self._asked: Ask | None = None

    def next_ask(self, expected_rows: float) -> Ask:
        """Return page 1 with the limit that should reach; the first guess is ``expected_rows``."""
        if self._asked is None:
            self._limit = min(self._largest_limit, max(self._limit, ceil(_LEAST_GROWTH * expected_rows)))
        self._asked = Ask(1, self._limit)
        return self._asked

    def asked(self, ask: Ask) -> bool:
        """Whether ``ask`` was this one's."""
        return ask is self._asked

    def take(self, seen: Seen, keys: list[float], until: float) -> None:
        """Choose a larger limit, from how densely keys lie at the front."""
        self.exhausted = seen.ask.limit >= self._largest_limit
        growth = _MOST_GROWTH
        if len(keys) > 1 and keys[0] > keys[-1]:
            growth = _LEAST_GROWTH * (keys[0] - until) / (keys[0] - keys[-1])
        growth = min(_MOST_GROWTH, max(_LEAST_GROWTH, growth))
        self._limit = min(self._largest_limit, ceil(self._limit * growth))

    def lose(self) -> None:
        """Read a smaller page after one that failed."""
        self._limit = max(1, self._limit // 2)
        self._largest_limit = max(self._limit, self._largest_limit // 2)
