"""A stand-in that goes away in the middle of a job, and comes back on the same port."""

from futureagi_async.events import (
    Event,
    OutageBegan,
    OutageEnded,
    ProbePlanned,
    RequestSent,
    ResponseReceived,
)
from futureagi_async.testing import StandInServer
from tests.support.exports import ServerClock


class Failing(ServerClock):
    """Stops a stand-in after so many answers, and starts it again when so many seconds have passed.

    It is the session's clock, which never really waits, and its observer.
    """

    def __init__(self, server: StandInServer, *, after: int, seconds: float, times: int = 1) -> None:
        super().__init__(server)
        self.began: list[OutageBegan] = []
        self.ended: list[OutageEnded] = []
        self.probes: list[ProbePlanned] = []
        self.sent = 0
        """Requests, each try."""
        self._server = server
        self._after = after
        self._seconds = seconds
        self._times = times
        self._answers = 0
        self._back_at: float | None = None

    def on_event(self, event: Event) -> None:
        """Count, and stop the server in time."""
        match event:
            case OutageBegan():
                self.began.append(event)
            case OutageEnded():
                self.ended.append(event)
            case ProbePlanned():
                self.probes.append(event)
            case RequestSent():
                self.sent += 1
            case ResponseReceived():
                self._answers += 1
                if self._answers >= self._after and self._times and self._back_at is None:
                    self._answers, self._times = 0, self._times - 1
                    self._server.__exit__(None, None, None)
                    self._back_at = self.monotonic() + self._seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and start the server again in time."""
        await super().sleep(seconds)
        if self._back_at is not None and self.monotonic() >= self._back_at:
            self._back_at = None
            self._server.__enter__()
