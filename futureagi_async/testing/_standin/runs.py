"""Simulates a test execution on the server's clock: its calls start, end, and are evaluated."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen, validators

from futureagi_async.testing._standin.data.records import Call

if TYPE_CHECKING:
    from futureagi_async.testing._standin.clock import VirtualClock
    from futureagi_async.testing._standin.data.records import TestExecution, World
    from futureagi_async.testing._standin.motion import Schedule

Ending = Literal["completed", "failed", "cancelled", "stalled"]

_FAILS_EVERY = 10
_NEXT_CALL_SECONDS = 0.001
"""The seconds between the end of a call and the start of the next one."""


@frozen(kw_only=True)
class Run:
    """The course of a test execution, from pending calls to its end. Times are in seconds.

    Attributes:
        calls_at_once: the number of calls in progress at the same time.
        call_seconds: the duration of each call. Every tenth call fails.
        evaluation_seconds: the duration of all evaluations, which follow the calls. They end call by call,
            and do not change the sort keys of the calls.
        ending: how the execution ends. `"stalled"` means that it never ends, and nothing more happens.
        ending_after: the number of calls that end before it fails, is cancelled or stalls. Default: half of
            the calls. With the number of all calls, it ends during the evaluations.

    """

    calls_at_once: int = field(default=5, validator=validators.ge(1))
    call_seconds: float = field(default=10.0, validator=validators.gt(0))
    evaluation_seconds: float = field(default=10.0, validator=validators.ge(0))
    ending: Ending = field(
        default="completed", validator=validators.in_(("completed", "failed", "cancelled", "stalled"))
    )
    ending_after: int | None = field(default=None, validator=validators.optional(validators.ge(0)))


class Runner:
    """Runs one test execution while the schedule advances."""

    def __init__(
        self, world: World, schedule: Schedule, clock: VirtualClock, execution: TestExecution, run: Run
    ) -> None:
        self._world = world
        self._schedule = schedule
        self._clock = clock
        self._execution = execution
        self._run = run
        members = execution.listing.members
        self._calls = [
            row for row in members if isinstance(row, Call) and execution.listing.rule.delivers(row.state)
        ]
        self._waiting = list(self._calls)
        self._open = len(self._calls)
        """The calls that have not ended."""
        self._is_over = False
        early = run.ending != "completed"
        half = len(self._calls) // 2 if run.ending_after is None else run.ending_after
        self._ends_with = len(self._calls) - half if early else None
        """The number of unfinished calls at which it fails, is cancelled or stalls."""

    def start(self, moment: float) -> None:
        """Reset all calls in one statement, and start the first ones."""
        self._execution.status = "running"
        for call in self._calls:
            call.evals_done = False
            self._change(call, moment, status="pending", evaluated=False)
        for _ in range(self._run.calls_at_once):
            self._begin_call(moment)
        if not self._end_early(moment) and not self._calls:
            self._evaluate(moment)

    def _begin_call(self, moment: float) -> None:
        if self._is_over or not self._waiting:
            return
        call = self._waiting.pop(0)
        self._change(call, moment, status="ongoing")
        self._schedule.plan(moment + self._run.call_seconds, partial(self._end_call, call))

    def _end_call(self, call: Call, moment: float) -> None:
        if self._is_over:
            return
        status = "failed" if call.number % _FAILS_EVERY == _FAILS_EVERY - 1 else "completed"
        self._change(call, moment, status=status)
        self._open -= 1
        if not self._end_early(moment):
            self._schedule.plan(moment + _NEXT_CALL_SECONDS, self._begin_call)
        if not self._open:
            self._evaluate(moment)

    def _evaluate(self, moment: float) -> None:
        """Start all evaluations at the same time, and finish them call by call."""
        self._execution.status = "evaluating"
        completed = [call for call in self._calls if call.state.status == "completed" and call.state.exists]
        for call in completed:
            self._world.change(call, moment, evaluated=True)
        each = self._run.evaluation_seconds / max(1, len(completed))
        for place, call in enumerate(completed):
            self._schedule.plan(moment + each * (place + 1), partial(self._finish, call))
        self._schedule.plan(moment + self._run.evaluation_seconds, self._complete)

    def _finish(self, call: Call, moment: float) -> None:
        if not self._is_over:
            call.evals_done = True
            self._world.change(call, moment)

    def _complete(self, _: float) -> None:
        if not self._is_over:
            self._execution.status = "completed"

    def _end_early(self, moment: float) -> bool:
        """Fail, cancel or stall, if it is time."""
        if self._is_over or self._ends_with is None or self._open > self._ends_with:
            return False
        self._is_over = True
        if self._run.ending == "cancelled":
            self._execution.status = "cancelling"
            self._schedule.plan(moment + self._run.call_seconds, self._stop)
        elif self._run.ending == "failed":
            self._stop(moment)
        return True

    def _stop(self, moment: float) -> None:
        """End running calls with the status of the execution, and cancel pending ones."""
        self._execution.status = self._run.ending
        for call in self._calls:
            if call.state.status == "ongoing":
                self._change(call, moment, status=self._run.ending)
            elif call.state.status == "pending":
                self._change(call, moment, status="cancelled")

    def _change(self, call: Call, moment: float, **changes: Any) -> None:
        """Save a call, unless it was deleted."""
        if call.state.exists and not call.state.deleted:
            self._world.change(call, moment, key_us=self._clock.microseconds_at(moment), **changes)
