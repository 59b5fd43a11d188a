"""What an export did so far, counted from the session's events. Shows nothing itself."""

import time
from collections.abc import Callable, Sequence

import attrs

from futureagi_async import AgentVersionCalls, CallSource, RunTestCalls
from futureagi_async.events import Event, PageArrived, RetryPlanned, SessionPaused, VerdictReached
from futureagi_async.export import ExportProgress


@attrs.define(eq=False)
class Line:
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


class Tally:
    """Counts; `observe` is an observer for a session, `write` one for an export."""

    def __init__(self, sources: Sequence[CallSource], now: Callable[[], float] = time.monotonic) -> None:
        self.lines = {source: Line(short_name(source)) for source in sources}
        self.records = 0
        """Written."""
        self.bytes = 0
        self.retries = 0
        self.pauses = 0
        self.paused_seconds = 0.0
        self._now = now
        self._began = now()

    def observe(self, event: Event) -> None:
        """Count what a session tells."""
        match event:
            case PageArrived():
                line = self.lines[event.source]
                line.read += event.records
                line.count = event.count
            case VerdictReached():
                line = self.lines[event.source]
                line.read, line.verdict = event.received, event.verdict
            case RetryPlanned():
                self.retries += 1
            case SessionPaused():
                self.pauses += 1
                self.paused_seconds += event.delay_seconds
            case _:
                pass

    def write(self, progress: ExportProgress) -> None:
        """Count what stands in the file."""
        self.records, self.bytes = progress.records, progress.bytes

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
        """How many records all lists hold, as far as is known; ``None`` while one has not said."""
        counts = [
            line.count for line in self.lines.values() if line.verdict is None or line.count is not None
        ]
        return None if None in counts else sum(count for count in counts if count is not None)


def short_name(source: CallSource) -> str:
    """Return the kind of list and the start of its id, which fits beside figures."""
    if isinstance(source, RunTestCalls):
        return f"run test {source.run_test_id[:8]}"
    if isinstance(source, AgentVersionCalls):
        return f"agent version {source.version_id[:8]}"
    return f"test execution {source.test_execution_id[:8]}"
