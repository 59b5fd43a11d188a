"""The log of served requests: one immutable entry per request, readable from any thread."""

import threading
from collections import deque
from collections.abc import Mapping

from attrs import field, frozen

_NEWEST_KEPT = 100_000
"""The limit of entries, so that the log of a long test does not fill the memory."""


@frozen
class ServedRequest:
    """One request, as the server saw it.

    Names in `headers` are case-insensitive. `status` is 0 if the connection ended without an answer.
    `started` and `ended` are times on the server's clock: the arrival, and the last byte of the answer.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    status: int
    started: float
    ended: float


class RequestLog:
    """The newest served requests in the order in which they ended, and the number of concurrent requests."""

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
        """Return a copy of the entries."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Remove the entries and reset the peak. Requests in progress still count."""
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
