"""`ExecutionState`: the progress of a test execution, and the error of a wait that timed out."""

from collections.abc import Mapping

import attrs

from futureagi_async.errors import FutureAGIError


@attrs.define(frozen=True, kw_only=True)
class ExecutionState:
    """The state of a test execution at the last check."""

    id: str
    status: str | None
    """An `ExecutionStatus` value in lower case, or a newer one; ``None`` if the server sent none."""
    counts: Mapping[str, int]
    """Number of calls by `CallStatus` value in lower case; ``"unknown"`` counts calls without a status."""
    pending_evaluations: int
    """Evaluations without a result, over all calls."""
    is_final: bool
    """Whether nothing will change any more; see `Session.wait_for_execution`."""
    elapsed: float
    """Seconds since the wait began."""

    @property
    def calls(self) -> int:
        """Number of calls."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {status}" for status, count in self.counts.items()) or "no calls"
        pending = f", {self.pending_evaluations:,} evaluations pending" if self.pending_evaluations else ""
        return f"{self.status or 'no status'}: {counts}{pending}"


class WaitTimeoutError(FutureAGIError, TimeoutError):
    """A test execution or list of calls was not final in time; ``state`` is the last state."""

    state: ExecutionState | None = None
    """``None`` for a list of calls other than a test execution's."""
