"""The log of served requests: one frozen entry a request, readable from any thread."""

import threading
from collections import deque
from collections.abc import Mapping

from attrs import field, frozen

_NEWEST_KEPT = 100_000
"""A soak test must not fill the memory with its own log."""


@frozen
class ServedRequest:
    """One request as the server saw it.

    `headers` ignores the case of names. `status` is 0 where the connection ended without an answer.
    `started` and `ended` are readings of the server's clock: arrival, and the answer's last byte.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    status: int
    started: float
    ended: float


class RequestLog:
    """The newest requests served, in the order in which they ended, and how many ran at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[ServedRequest] = deque(maxlen=_NEWEST_KEPT)
        self._in_flight = 0
        self._peak_in_flight = 0

    @property
    def in_flight(self) -> int:
        with self._lock:
            return self._in_flight

    @property
    def peak_in_flight(self) -> int:
        with self._lock:
            return self._peak_in_flight

    def read(self) -> list[ServedRequest]:
        """Return a copy that later requests do not change."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forget the entries and the peak; requests under way still count."""
        with self._lock:
            self._entries.clear()
            self._peak_in_flight = self._in_flight

    def begin(self) -> None:
        with self._lock:
            self._in_flight += 1
            self._peak_in_flight = max(self._peak_in_flight, self._in_flight)

    def finish(self, entry: ServedRequest) -> None:
        with self._lock:
            self._in_flight -= 1
            self._entries.append(entry)
