"""Decides how a list of calls is watched: what to read next, what is final, and when to check again.

A page of a test execution's calls also has its status, and every saved call moves to the front of its list.
So one small first page is enough, as long as it overlaps with the known calls. Results of evaluations do not
move their calls: so every other check reads one of the calls that wait for an evaluation.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeAlias

import attrs

from futureagi_async._sansio.covering.pages import PageRequest
from futureagi_async.models import CallExecution, CallPage, ExecutionState, ReadOnlyDict, TestExecutionPage
from futureagi_async.words import CallStatus, ExecutionStatus

ENDED_CALLS = frozenset((CallStatus.COMPLETED, CallStatus.FAILED, CallStatus.CANCELLED))
NOT_BEGUN_CALLS = frozenset((CallStatus.PENDING, CallStatus.QUEUED))
STOPPED_EXECUTIONS = frozenset((ExecutionStatus.FAILED, ExecutionStatus.CANCELLED))
ENDED_EXECUTIONS = STOPPED_EXECUTIONS | {ExecutionStatus.COMPLETED}

FIRST_LIMIT = 100
"""Rows of the first page; most test executions fit on it."""
SMALL_LIST = 20
"""Lists of up to this number of calls are read as a whole each time."""
SPARE_ROWS = 5
"""Number of rows by which such a list may grow."""
MOST_LOOKS = 3
"""Number of single calls to check in one go, as long as each is finished; then all are read."""
LOOKS_BETWEEN_READS = 10
ROWS_BETWEEN_READS = 50
"""All calls are read after this number of checks, or one per so many rows, to correct what small pages
miss."""
SETTLED_SECONDS = 60.0
"""A failed or cancelled execution may leave calls unfinished: it is final after this long without a
change."""

MAX_POLL_SECONDS = 60.0
QUIET_SHARE = 0.25
"""The pause between two checks, as a share of the time without a change."""
BUDGET_SHARE = 0.5
"""The share of a session's requests per minute that waiting may use."""

UNKNOWN = "unknown"
_ORDER = {str(word): place for place, word in enumerate(CallStatus)}


@attrs.define(frozen=True)
class WholeList:
    """Read every call, until the list is provably complete."""


@attrs.define(frozen=True)
class OneCall:
    """Read the detail of a call."""

    id: str


Read: TypeAlias = PageRequest | OneCall | WholeList


@attrs.define(frozen=True)
class KnownCall:
    """What is kept of a call."""

    changed_at: datetime | None
    status: str
    pending: int
    """Number of evaluations without a result."""

    @property
    def is_final(self) -> bool:
        """Whether the call and its evaluations will not change, except by a rerun."""
        return self.status in ENDED_CALLS and not self.pending


def poll_delay_seconds(
    poll: float, quiet_seconds: float, requests: int, max_requests_per_minute: int | None
) -> float:
    """Seconds until the next check: ``poll`` at first, up to a minute while nothing changes.

    ``requests`` is the number that the last check used; at most half of a session's limit is used.
    """
    delay = max(poll, min(QUIET_SHARE * quiet_seconds, MAX_POLL_SECONDS))
    if max_requests_per_minute is not None:
        delay = max(delay, requests * 60 / (BUDGET_SHARE * max_requests_per_minute))
    return delay


class ListWatch:
    """The known state of a list of calls, from mostly small reads.

    A check is `begin`, followed by the ``take_...`` method for each result, until it returns ``None``.
    """

    def __init__(self, *, has_status: bool) -> None:
        self.status: str | None = None
        self._has_status = has_status
        """Whether the list is that of a test execution, which has a status."""
        self._known: dict[str, KnownCall] = {}
        self._count: int | None = None
        self._evaluations = 0
        """Number of evaluations of the test execution."""
        self._changed_at = float("-inf")
        self._is_proven = False
        """Whether all calls are known for certain, from a read in this check."""
        self._was_proven = False
        """Whether that was so after the execution ended."""
        self._changes = 0
        """Calls that were new or changed on the first page of the last check."""
        self._looks = 0
        """Checks since all calls were read."""
        self._calls_finished = 0
        """Calls that this check found to be finished."""
        self._looked_at_call = False
        self._was_widened = False
        """Whether this check read a first page of full size."""

    def quiet_seconds(self, now: float) -> float:
        """Seconds since the last change."""
        return now - self._changed_at

    def is_final(self, now: float) -> bool:
        """Whether it is certain that nothing will change any more."""
        return self._is_proven and self._has_ended() and (not self._is_unfinished() or self._has_settled(now))

    def state(self, id_: str, now: float, elapsed: float) -> ExecutionState:
        """Return the state for callers."""
        found = Counter(call.status for call in self._known.values())
        words = sorted(found, key=lambda word: (_ORDER.get(word, len(_ORDER)), word))
        return ExecutionState(
            id=id_,
            status=self.status,
            counts=ReadOnlyDict({word: found[word] for word in words}),
            pending_evaluations=sum(call.pending for call in self._known.values()),
            is_final=self.is_final(now),
            elapsed=elapsed,
        )

    def remember(self, calls: Iterable[CallExecution]) -> dict[str, KnownCall]:
        """Return what to keep of calls, by id, without snapshots."""
        return {call.id: self._remembered(call) for call in calls if not call.is_snapshot}

    def begin(self) -> Read:
        """Return what to read first."""
        self._is_proven, self._calls_finished = False, 0
        self._looks += 1
        self._was_widened = self._count is None
        if self._count is None:
            return PageRequest(1, FIRST_LIMIT)
        if self._count <= SMALL_LIST:
            return PageRequest(1, self._count + SPARE_ROWS)
        if not self._looked_at_call and (waiting := self._oldest_waiting()) is not None:
            self._looked_at_call = True
            return OneCall(waiting)
        self._looked_at_call = False
        return PageRequest(1, min(max(1, 2 * self._changes), FIRST_LIMIT))

    def take_page(self, page: CallPage, now: float) -> Read | None:
        """Process the first page, and return what else to read."""
        if isinstance(page, TestExecutionPage):
            self._take_status(page, now)
        shown = self.remember(page.calls)
        shrank = self._count is not None and page.count < self._count
        self._count = page.count
        if not page.has_next:
            self.take_all(shown, now, proven=True)
            return None
        if not (shrank or self._was_widened or self._joins(shown)):
            self._was_widened = True
            return PageRequest(1, FIRST_LIMIT)
        self._changes = sum(self._known.get(id_) != call for id_, call in shown.items()) if self._known else 0
        must = shrank or not self._joins(shown)
        self._update(shown, now)
        is_time = self._looks >= max(LOOKS_BETWEEN_READS, self._count // ROWS_BETWEEN_READS)
        return WholeList() if must or is_time or self._needs_proof(now) else None

    def take_call(self, call: CallExecution | None, now: float) -> Read | None:
        """Process the detail of a call; ``None`` for a call that no longer exists."""
        if call is None:
            return WholeList()
        shown = self.remember([call])
        self._update(shown, now)
        if not shown[call.id].is_final:
            return WholeList() if self._needs_proof(now) else None
        self._calls_finished += 1
        following = self._oldest_waiting()
        if following is None or self._calls_finished == MOST_LOOKS:
            return WholeList()
        return OneCall(following)

    def take_all(self, calls: Mapping[str, KnownCall], now: float, *, proven: bool) -> None:
        """Process the whole list; nothing else must be read."""
        if self._known != calls:
            self._known, self._changed_at = dict(calls), now
        self._looks, self._is_proven = 0, proven
        self._was_proven = proven and self._has_ended()

    def _remembered(self, call: CallExecution) -> KnownCall:
        status = call.status.strip().lower() if call.status else UNKNOWN
        pending = 0
        if status not in (CallStatus.FAILED, CallStatus.CANCELLED):  # these are not evaluated any more
            outputs = (call.eval_outputs or {}).values()
            pending = sum(output.pending for output in outputs)
            if not outputs and status == CallStatus.COMPLETED and not self._has_ended():
                pending = self._evaluations  # they have not begun
        return KnownCall(call.timestamp, status, pending)

    def _take_status(self, page: TestExecutionPage, now: float) -> None:
        self._evaluations = sum(column.type == "evaluation" for column in page.column_order)
        status = page.status.strip().lower() if page.status else None
        if status != self.status:
            self.status, self._changed_at, self._was_proven = status, now, False

    def _joins(self, shown: Mapping[str, KnownCall]) -> bool:
        """Whether a page reaches unchanged calls, so that the rest of the list is known."""
        return any(self._known.get(id_) == call for id_, call in shown.items())

    def _update(self, shown: Mapping[str, KnownCall], now: float) -> None:
        if any(self._known.get(id_) != call for id_, call in shown.items()):
            self._known |= shown
            self._changed_at = now

    def _needs_proof(self, now: float) -> bool:
        """Whether a read of the whole list is useful: at the end, or when everything seems final."""
        return self._has_ended() and (
            not self._was_proven or not self._is_unfinished() or self._has_settled(now)
        )

    def _has_ended(self) -> bool:
        """Whether no new call will begin."""
        return not self._has_status or self.status in ENDED_EXECUTIONS

    def _has_settled(self, now: float) -> bool:
        return self.status in STOPPED_EXECUTIONS and self.quiet_seconds(now) >= SETTLED_SECONDS

    def _is_unfinished(self) -> bool:
        """Whether a call may still change. Calls that a stopped execution did not start will not."""
        final = NOT_BEGUN_CALLS if self.status in STOPPED_EXECUTIONS else frozenset[CallStatus]()
        return any(not call.is_final and call.status not in final for call in self._known.values())

    def _oldest_waiting(self) -> str | None:
        """Return the call that has waited longest for its evaluations."""
        waiting = [id_ for id_, call in self._known.items() if call.status in ENDED_CALLS and call.pending]
        return min(waiting, key=lambda id_: _seconds(self._known[id_]), default=None)


def _seconds(call: KnownCall) -> float:
    return call.changed_at.timestamp() if call.changed_at is not None else float("-inf")
