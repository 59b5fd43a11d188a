"""`ExecutionState`: how far a test execution is, and the error of one that took too long."""

from collections.abc import Mapping

import attrs

from futureagi_async.errors import FutureAGIError


@attrs.define(frozen=True, kw_only=True)
class ExecutionState:
    """How far a test execution was when it was looked at last."""

    id: str
    status: str | None
    """An `ExecutionStatus` word in lower case, or one invented since; ``None`` where none was sent."""
    counts: Mapping[str, int]
    """Calls by status, a `CallStatus` word in lower case; ``"unknown"`` counts those without one."""
    pending_evaluations: int
    """Evaluations without a result, over all calls."""
    is_final: bool
    """Whether nothing will change any more: see `Session.wait_for_execution`."""
    elapsed: float
    """Seconds since the waiting began."""

    @property
    def calls(self) -> int:
        """How many calls there are."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {status}" for status, count in self.counts.items()) or "no calls"
        pending = f", {self.pending_evaluations:,} evaluations pending" if self.pending_evaluations else ""
        return f"{self.status or 'no status'}: {counts}{pending}"


class WaitTimeoutError(FutureAGIError, TimeoutError):
    """What was waited for did not become final in time; ``state`` is what was seen last."""

    state: ExecutionState | None = None
    """``None`` for a list of calls that is not a test execution's."""
