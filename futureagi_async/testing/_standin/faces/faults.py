"""The server's faults: each method scripts one, and each is used up by the requests it meets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.web.answers import JSON, Answer
from futureagi_async.testing._standin.web.faults import (
    Disconnect,
    FaultScript,
    Instead,
    Stall,
    failure_answer,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from futureagi_async.testing._standin.wire.dialect import DialectName


class FaultMethods:
    """Faults meet requests whose path and query contain `path_contains`; the default meets all.

    Each is used up by the next `times` such requests, after `after` of them went through. Where several
    are due, the one scripted first is used. They come before routing and keys.
    """

    _faults: FaultScript
    dialect: DialectName

    def fail(
        self,
        path_contains: str = "",
        *,
        times: int = 1,
        status: int = 503,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        after: int = 0,
    ) -> None:
        """Answer with an error status.

        `body`: text or bytes as they are, or a value sent as JSON; by default what a proxy (502 to 504),
        a limiter (429) or the API itself would say.
        """
        answer = failure_answer(self.dialect, status, headers, body)
        self._faults.add(Instead(answer), path_contains, times=times, after=after)

    def stall(
        self,
        path_contains: str = "",
        *,
        times: int = 1,
        seconds: float | None = None,
        after_bytes: int | None = None,
        after: int = 0,
    ) -> None:
        """Wait real `seconds` (for ever by default) before the answer, or after some bytes of its body."""
        self._faults.add(Stall(seconds, after_bytes), path_contains, times=times, after=after)

    def disconnect(
        self,
        path_contains: str = "",
        *,
        times: int = 1,
        after_bytes: int | None = None,
        reset: bool = False,
        after: int = 0,
    ) -> None:
        """Close the connection without an answer, or after some bytes of its body; `reset` sends an RST."""
        self._faults.add(Disconnect(after_bytes, reset), path_contains, times=times, after=after)

    def respond(
        self,
        path_contains: str = "",
        *,
        body: bytes,
        content_type: str = JSON,
        content_encoding: str | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        after: int = 0,
    ) -> None:
        """Answer with exactly these bytes; they are not encoded, whatever `content_encoding` claims."""
        more = dict(headers or {}) | ({"Content-Encoding": content_encoding} if content_encoding else {})
        answer = Answer(status, body, content_type, more)
        self._faults.add(Instead(answer), path_contains, times=times, after=after)

    def clear_faults(self) -> None:
        """Forget every fault that was not used up."""
        self._faults.clear()
