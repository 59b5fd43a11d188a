"""Creation-time windows: for lists whose order can't be trusted, but that can be filtered by creation.

A call's creation time never changes, so a call never leaves its window. Each window is halved until it
fits one atomic page; together they hold every row that was in the list from start to end of the read.
"""

from collections import deque

import attrs

from futureagi_async._sansio.covering.atomic import AtomicRead
from futureagi_async._sansio.covering.lists import Ask, ListTraits, Seen
from futureagi_async._sansio.covering.tails import EndDoubt

EARLIEST = 1_420_070_400.0  # 2015, before the service
_A_DAY_AHEAD = 86_400.0  # clocks of the server's workers may differ, and some run ahead of its Date
_SMALLEST_SECONDS = 0.001


@attrs.define(eq=False)
class _Window:
    start: float
    end: float
    doubt: EndDoubt = attrs.field(factory=EndDoubt)
    atomic: AtomicRead | None = None


class CreationRead:
    """Chooses windows, and reads each as one page."""

    def __init__(self, traits: ListTraits, *, now: float, page_size: int, largest_limit: int) -> None:
        self.hopeless = False
        self.last_sent_at = 0.0
        self._traits = traits
        self._page_size = page_size
        self._largest_limit = largest_limit
        self._waiting = deque([_Window(EARLIEST, now + _A_DAY_AHEAD)])
        self._in_flight: dict[Ask, _Window] = {}

    @property
    def done(self) -> bool:
        """Whether every window was read."""
        return not self._waiting and not self._in_flight and not self.hopeless

    def next_ask(self) -> Ask | None:
        """Return a page of some window."""
        if not self._waiting:
            return None
        window = self._waiting.popleft()
        plain = window.atomic.next_ask() if window.atomic is not None else Ask(1, self._page_size)
        ask = attrs.evolve(plain, created=(window.start, window.end), optional=False)
        self._in_flight[ask] = window
        return ask

    def asked(self, ask: Ask) -> bool:
        """Whether ``ask`` was this one's."""
        return ask in self._in_flight

    def take(self, seen: Seen) -> None:
        """Finish, go on with, or halve the window that was read."""
        window = self._in_flight.pop(seen.ask)
        window.doubt.note(seen)
        self.last_sent_at = max(self.last_sent_at, seen.sent_at)
        if window.atomic is None:
            self._begin(window, seen)
            return
        window.atomic.take(seen)
        if window.atomic.hopeless:
            self._halve(window)
        elif not window.atomic.proven:
            self._waiting.appendleft(window)

    def _begin(self, window: _Window, seen: Seen) -> None:
        atomic = AtomicRead(self._traits, seen, window.doubt, largest_limit=self._largest_limit)
        if seen.count == 0:
            return
        if atomic.rows > self._largest_limit:
            self._halve(window)
        else:
            window.atomic = atomic
            self._waiting.appendleft(window)

    def _halve(self, window: _Window) -> None:
        middle = (window.start + window.end) / 2
        if window.end - window.start < _SMALLEST_SECONDS:
            self.hopeless = True
            return
        self._waiting.extendleft([_Window(middle, window.end), _Window(window.start, middle)])
