"""The progress of an export: what is done per list and per phase, and the speed."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import attrs

import futureagi_async as sdk
from futureagi_async.cli.formatting import short_name
from futureagi_async.events import (
    Event,
    OutageBegan,
    OutageEnded,
    PageArrived,
    ProbePlanned,
    ResponseReceived,
    RetryPlanned,
    SessionPaused,
    VerdictReached,
)

_WINDOW_SECONDS = 15.0
_SAMPLE_SECONDS = 0.25  # more frequent samples would not be more exact


class Rate:
    """Measures the rate over the last seconds. The count of the first sample does not add to the rate."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, seconds: float, count: int) -> None:
        """Record the count at a time."""
        samples = self._samples
        if len(samples) > 1 and seconds - samples[-2][0] < _SAMPLE_SECONDS:
            samples.pop()
        samples.append((seconds, count))
        while len(samples) > 2 and samples[1][0] < seconds - _WINDOW_SECONDS:
            samples.popleft()

    def rate(self, now: float) -> float:
        """Return the recent rate per second, or 0 before the first increase."""
        if not self._samples:
            return 0.0
        began, first = self._samples[0]
        return (self._samples[-1][1] - first) / max(now - began, _SAMPLE_SECONDS)


_TOO_MANY_REQUESTS = 429


@attrs.define(eq=False)
class ListProgress:
    """The progress of one list."""

    label: str
    read: int = 0
    """Records received. The same record may count twice."""
    count: int | None = None
    """The server's count of the list; ``None`` before its first page."""
    verdict: str | None = None

    @property
    def state(self) -> str:
        """The state in one word."""
        if self.verdict is not None:
            return self.verdict
        if self.count is None:
            return "waiting"
        return "reading" if self.read < self.count else "checking"


@attrs.define(eq=False)
class PhaseProgress:
    """The progress of one phase."""

    records: int = 0
    """How many are done, including earlier runs."""
    bytes: int = 0
    total: int | None = None
    """How many there are to do, if known."""
    rate: Rate = attrs.field(factory=Rate)


@attrs.define(eq=False)
class OutageProgress:
    """An outage: the server does not answer."""

    since: datetime
    """The local time of the last answer."""
    began: float
    """The same time, on the clock of the progress."""
    next_try: float = 0.0
    """The time of the next try, on the clock of the progress."""


class Progress:
    """Counts what is done. Use `observe` as an observer of a session, and `write` as one of an export."""

    def __init__(
        self,
        sources: "Sequence[sdk.CallSource]",
        now: Callable[[], float] = time.monotonic,
        local_time: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.lines = {source: ListProgress(short_name(source)) for source in sources}
        self.phase = "reading"
        self.stages = {"reading": PhaseProgress()}
        """The phases, in the order in which they began."""
        self.retries = 0
        self.throttled = 0
        """Responses with status 429 (too many requests)."""
        self.pauses = 0
        self.paused_seconds = 0.0
        self.outage: OutageProgress | None = None
        """The current outage, if there is one."""
        self.outages = 0
        self.outage_seconds = 0.0
        """The total length of the outages that are over."""
        self._now = now
        self._local_time = local_time
        self._began = now()
        self._arrived = 0
        self._read_earlier: int | None = None
        self.stage.rate.note(self._began, 0)

    def observe(self, event: Event) -> None:
        """Count an event of the session."""
        match event:
            case PageArrived():
                line = self.lines[event.source]
                line.read += event.records
                self._arrived += event.records
                line.count = event.count
            case VerdictReached():
                line = self.lines[event.source]
                line.read, line.verdict = event.received, event.verdict
            case RetryPlanned():
                self.retries += 1
            case ResponseReceived(status=status) if status == _TOO_MANY_REQUESTS:
                self.throttled += 1
            case SessionPaused():
                self.pauses += 1
                self.paused_seconds += event.delay_seconds
            case OutageBegan():
                self.outages += 1
                since = self._local_time() - timedelta(seconds=event.seconds)
                self.outage = OutageProgress(since, self._now() - event.seconds)
            case ProbePlanned() if self.outage is not None:
                self.outage.next_try = self._now() + event.delay_seconds
            case OutageEnded():
                self.outage = None
                self.outage_seconds += event.seconds
            case _:
                pass

    def write(self, progress: "sdk.ExportProgress") -> None:
        """Count the progress of the export."""
        self.phase = progress.phase
        stage = self.stages.setdefault(progress.phase, PhaseProgress())
        stage.records, stage.bytes, stage.total = progress.records, progress.bytes, progress.total
        if (
            self._read_earlier is None
        ):  # records of an interrupted run are counted, but don't add to the speed
            self._read_earlier = max(0, progress.records - self._arrived)
        earlier = self._read_earlier if progress.phase == "reading" else 0
        stage.rate.note(self._now(), progress.records - earlier)

    @property
    def seconds_out(self) -> float:
        """How long the current outage has lasted."""
        return self._now() - self.outage.began if self.outage is not None else 0.0

    @property
    def seconds_to_next_try(self) -> float:
        """How long until the next try during an outage; 0 during a try."""
        return max(0.0, self.outage.next_try - self._now()) if self.outage is not None else 0.0

    @property
    def stage(self) -> PhaseProgress:
        """The current phase."""
        return self.stages[self.phase]

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._now() - self._began

    @property
    def lists_done(self) -> int:
        """How many lists are finished, complete or not."""
        return sum(line.verdict is not None for line in self.lines.values())

    @property
    def expected(self) -> int | None:
        """How many records this phase has to do; ``None`` until the count of every list is known."""
        if self.phase != "reading":
            return self.stage.total
        counts = [
            line.count for line in self.lines.values() if line.verdict is None or line.count is not None
        ]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def rate(self) -> float:
        """The recent rate in records per second."""
        return self.stage.rate.rate(self._now())

    @property
    def seconds_left(self) -> float | None:
        """How long this phase still takes at the recent rate, at least 1 second; ``None`` if unknown."""
        left = (self.expected or 0) - self.stage.records
        seconds = left / self.rate if left > 0 and self.rate else 0
        return seconds if seconds >= 1 else None
