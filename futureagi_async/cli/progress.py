"""What an export has done so far, per list and per phase, and how fast."""

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
_SAMPLE_SECONDS = 0.25  # closer ones make nothing more exact


class Rate:
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


_TOO_MANY_REQUESTS = 429


@attrs.define(eq=False)
class ListProgress:
    """One list."""

    label: str
    read: int = 0
    """Records that arrived, the same one perhaps twice."""
    count: int | None = None
    """What the server says the list holds; ``None`` before its first page."""
    verdict: str | None = None

    @property
    def state(self) -> str:
        """One word for people."""
        if self.verdict is not None:
            return self.verdict
        if self.count is None:
            return "waiting"
        return "reading" if self.read < self.count else "checking"


@attrs.define(eq=False)
class PhaseProgress:
    """One phase of the export."""

    records: int = 0
    """Done with, those of earlier runs included."""
    bytes: int = 0
    total: int | None = None
    """How many there are to do, where that is known."""
    rate: Rate = attrs.field(factory=Rate)


@attrs.define(eq=False)
class OutageProgress:
    """A time in which the server answers nothing."""

    since: datetime
    """Local time of the last answer."""
    began: float
    """The same on the progress's clock."""
    next_try: float = 0.0
    """When it is asked again, on the progress's clock."""


class Progress:
    """Counts; `observe` is an observer for a session, `write` one for an export."""

    def __init__(
        self,
        sources: "Sequence[sdk.CallSource]",
        now: Callable[[], float] = time.monotonic,
        local_time: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.lines = {source: ListProgress(short_name(source)) for source in sources}
        self.phase = "reading"
        self.stages = {"reading": PhaseProgress()}
        """By phase, in the order they began."""
        self.retries = 0
        self.throttled = 0
        """Answers that said: too many requests."""
        self.pauses = 0
        self.paused_seconds = 0.0
        self.outage: OutageProgress | None = None
        """The one that lasts."""
        self.outages = 0
        self.outage_seconds = 0.0
        """Of those that are over."""
        self._now = now
        self._local_time = local_time
        self._began = now()
        self._arrived = 0
        self._read_earlier: int | None = None
        self.stage.rate.note(self._began, 0)

    def observe(self, event: Event) -> None:
        """Count what a session tells."""
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
        """Count what the export is done with."""
        self.phase = progress.phase
        stage = self.stages.setdefault(progress.phase, PhaseProgress())
        stage.records, stage.bytes, stage.total = progress.records, progress.bytes, progress.total
        if self._read_earlier is None:  # an interrupted run's records are there, but were not read this fast
            self._read_earlier = max(0, progress.records - self._arrived)
        earlier = self._read_earlier if progress.phase == "reading" else 0
        stage.rate.note(self._now(), progress.records - earlier)

    @property
    def seconds_out(self) -> float:
        """How long the server has not answered by now."""
        return self._now() - self.outage.began if self.outage is not None else 0.0

    @property
    def seconds_to_next_try(self) -> float:
        """How long until a server that does not answer is asked again; 0 while it is being asked."""
        return max(0.0, self.outage.next_try - self._now()) if self.outage is not None else 0.0

    @property
    def stage(self) -> PhaseProgress:
        """What is going on now."""
        return self.stages[self.phase]

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._now() - self._began

    @property
    def lists_done(self) -> int:
        """How many lists have their verdict."""
        return sum(line.verdict is not None for line in self.lines.values())

    @property
    def expected(self) -> int | None:
        """How many records this phase has to do, as far as is known; ``None`` while a list has not said."""
        if self.phase != "reading":
            return self.stage.total
        counts = [
            line.count for line in self.lines.values() if line.verdict is None or line.count is not None
        ]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def rate(self) -> float:
        """Records a second, lately."""
        return self.stage.rate.rate(self._now())

    @property
    def seconds_left(self) -> float | None:
        """How long this phase still takes at this rate, from 1; ``None`` where nobody can tell."""
        left = (self.expected or 0) - self.stage.records
        seconds = left / self.rate if left > 0 and self.rate else 0
        return seconds if seconds >= 1 else None
