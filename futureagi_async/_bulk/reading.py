"""Read one source in bulk: which pages to read, delivered records, checkpoints, and the report."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import compress

import attrs

from futureagi_async._bulk.checkpoints import (
    Checkpoint,
    Failed,
    ReadEvent,
    Received,
    Requested,
    Restarted,
    encode_checkpoint,
    fingerprint_of,
)
from futureagi_async._sansio.covering import Cover
from futureagi_async._sansio.covering.fast import FastRead
from futureagi_async._sansio.covering.pages import DELTA_SECONDS, Conclusion, ListTraits, PageRequest
from futureagi_async._sansio.covering.places import ReadPlaces
from futureagi_async._sansio.covering.seen_ids import Novelty, SeenIds
from futureagi_async._sansio.replies import Decoded, is_past_the_end
from futureagi_async._sansio.retrying import is_unanswered
from futureagi_async.errors import (
    APIConnectionError,
    DecodingError,
    FutureAGIError,
    InternalServerError,
    TLSError,
)
from futureagi_async.models import CallExecution, CallPage, SourceReport
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls

_CHECKPOINTS_LACKING = "resume lacks some checkpoints, or has them in another order."


def traits_of(source: CallSource) -> ListTraits:
    """Say how the server makes this list's pages."""
    match source:
        case RunTestCalls(search=search, status=status):
            return ListTraits(
                counted_first=False, rows_enter_with_old_keys=search is not None or status is not None
            )
        case AgentVersionCalls():
            return ListTraits(counted_first=True, rows_enter_with_old_keys=True)
    filtered = source.search is not None or bool(source.filters)
    return ListTraits(counted_first=True, rows_enter_with_old_keys=filtered, filters_creation=True)


@attrs.define(frozen=True)
class Step:
    """One page of a bulk read, with a checkpoint to resume after it."""

    index: int
    """Position of the source among those given, from 0."""
    page: CallPage
    """The page, with only the calls that were not delivered before."""
    newer: tuple[CallExecution, ...]
    """Newer versions of calls that were delivered before."""
    checkpoint: bytes
    """Opaque bytes. Save them after the calls; pass all checkpoints to ``resume`` in their order."""


@attrs.define(frozen=True, eq=False)
class PageTask:
    """A page of a source that should be read next."""

    reader: "SourceReader"
    number: int
    """Number of the request among those of the source."""
    request: PageRequest


@attrs.define(eq=False)
class SourceReader:
    """Takes tasks from one source's cover, gives it the answers, and keeps both for the next checkpoint."""

    index: int
    source: CallSource
    begin: Callable[[], Cover | FastRead]
    """Makes a cover that knows nothing yet."""
    how: str
    """The options that decide which pages are read, for the fingerprint of checkpoints."""
    epoch: float
    """When the read began, on the session's clock; the cover counts its seconds from then."""
    since: float | None = None
    """Only rows changed since then are wanted; Unix seconds of the server's clock."""
    queued: bool = True
    """Whether it is in the fan-out's queue of sources that may have a task."""
    seen_ids: SeenIds = attrs.field(factory=SeenIds)
    repeated: int = 0
    """Records that came again in places which were read again on purpose."""
    delivered: int = 0
    """Records that the consumer received."""
    misfits: int = 0
    """Of those, records with misfits."""
    retries: int = 0
    failures: list[FutureAGIError] = attrs.field(factory=list)
    cover: Cover | FastRead = attrs.field(init=False)
    _asked: int = 0
    _requests_before: int = 0
    """Those of covers that came to nothing."""
    _waiting: dict[int, PageRequest] = attrs.field(factory=dict)
    """Pages asked for before an interruption, without an answer."""
    _places: ReadPlaces = attrs.field(factory=ReadPlaces)
    _events: list[ReadEvent] = attrs.field(factory=list)
    _fingerprint: bytes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.cover = self.begin()
        self._fingerprint = fingerprint_of(self.source, self.how)

    def next_task(self) -> PageTask | None:
        """Return a page to read now, or ``None`` for "not now"."""
        for number in self._waiting:
            return PageTask(self, number, self._waiting.pop(number))
        request = self.cover.next_page()
        if request is not None:
            self._events.append(Requested(in_vain=False))
            self._asked += 1
            return PageTask(self, self._asked, request)
        if not self._events or self._events[-1] != Requested(in_vain=True):
            self._events.append(Requested(in_vain=True))
        return None

    def accept(self, task: PageTask, answer: Decoded[CallPage], *, slots_full: bool) -> Step:
        """Feed a page to the cover, and return what is new of it."""
        page, server_time = answer.value, answer.reply.server_time
        received = Received(
            number=task.number,
            count=page.count,
            ids=[call.id for call in page.calls],
            keys=[call.timestamp.timestamp() if call.timestamp else None for call in page.calls],
            has_next=page.has_next,
            sent_at=answer.sent_at - self.epoch,
            received_at=answer.received_at - self.epoch,
            server_time=server_time.timestamp() if server_time else None,
            body_bytes=len(answer.reply.body),
            slots_full=slots_full,
            retries=answer.attempts - 1,
            failures=[str(failure.error) for failure in page.failures],
            misfits=[place for place, call in enumerate(page.calls) if call.misfits],
        )
        self._events.append(received)
        self.retries += received.retries
        self.failures.extend(failure.error for failure in page.failures)
        self.cover.add_result(received.page_result(task.request), slots_full=slots_full)
        return self._step(page, self._enter(received, task.request))

    def deliver(self, step: Step) -> None:
        """Count what the consumer took."""
        self.delivered += len(step.page.calls)
        self.misfits += sum(bool(call.misfits) for call in step.page.calls)

    def fail(self, task: PageTask, error: FutureAGIError, now: float) -> bool:
        """Take a page's error into account; whether it was to be expected, and is no error of the list's."""
        retries = max(0, error.attempts - 1)
        if task.request.page > 1 and is_past_the_end(error):
            past = _past_the_end(task.number, now - self.epoch, retries)
            self._events.append(past)
            self.retries += retries
            self.cover.add_result(past.page_result(task.request))
            return True
        self.retries += retries
        never_answered = self.cover.count is None and is_unanswered(error)
        failures = 0 if never_answered else _failures_of_page(error)
        another_way = self.cover.add_failure(task.request, failures)
        self._events.append(Failed(task.number, retries, failures, None if another_way else str(error)))
        if not another_way:
            self.failures.append(error)
        return task.request.optional

    def restore(self, checkpoint: Checkpoint) -> None:
        """Bring the cover to where it was when the checkpoint was made; checkpoints come in their order."""
        if checkpoint.fingerprint != self._fingerprint:
            raise ValueError(
                "resume has checkpoints of other sources, of another order, or of other options."
            )
        for event in checkpoint.events:
            self._replay(event)

    def resume(self) -> None:
        """Go on after `restore`; a source of which nothing could be proven is begun anew."""
        conclusion = self.cover.conclusion
        if conclusion is not None and conclusion.verdict == "incomplete":
            self._renew()
            self._events.append(Restarted())
        elif isinstance(self.cover, Cover):
            self.cover.resume()

    def _replay(self, event: ReadEvent) -> None:
        match event:
            case Requested(in_vain=in_vain):
                asked = self.cover.next_page()
                if (asked is None) != in_vain:
                    raise ValueError(_CHECKPOINTS_LACKING)
                if asked is not None:
                    self._asked += 1
                    self._waiting[self._asked] = asked
            case Received():
                self.retries += event.retries
                self.failures.extend(map(DecodingError, event.failures))
                request = self._asked_for(event.number)
                self.cover.add_result(event.page_result(request), slots_full=event.slots_full)
                entries = self._enter(event, request)
                self.delivered += entries.count("new")
                self.misfits += sum(entries[place] == "new" for place in event.misfits)
            case Failed():
                self.retries += event.retries
                self.cover.add_failure(self._asked_for(event.number), event.failures)
                if event.failure is not None:
                    self.failures.append(FutureAGIError(event.failure))
            case Restarted():
                self._renew()

    def _asked_for(self, number: int) -> PageRequest:
        request = self._waiting.pop(number, None)
        if request is None:
            raise ValueError(_CHECKPOINTS_LACKING)
        return request

    def _renew(self) -> None:
        self._requests_before += self.cover.requests
        self.cover = self.begin()
        self._waiting.clear()
        self.failures.clear()

    def _enter(self, received: Received, request: PageRequest) -> Sequence[Novelty | None]:
        """Note a page's records; ``None`` for those that are older than what is wanted."""
        ids, keys = received.ids, received.keys
        wanted = [True] * len(ids)
        if self.since is not None:
            oldest = self.since - DELTA_SECONDS
            wanted = [key is None or key >= oldest for key in keys]
            ids, keys = list(compress(ids, wanted)), list(compress(keys, wanted))
        entries = self.seen_ids.add_all(ids, keys)
        if request.created is not None:  # other places of a list that was read by its own before
            again = request.limit
        else:
            end = request.end if received.count is None else min(request.end, received.count)
            again = self._places.add(request.offset, end)
        self.repeated += min(again, len(entries) - entries.count("new"))
        each = iter(entries)
        return [next(each) if wants else None for wants in wanted]

    def _step(self, page: CallPage, entries: Sequence[Novelty | None]) -> Step:
        newer: tuple[CallExecution, ...] = ()
        if entries.count("new") < len(entries):  # else the page is as it is to be, and 10 µs are saved
            calls = tuple(zip(page.calls, entries, strict=True))
            newer = tuple(call for call, entry in calls if entry == "newer")
            page = attrs.evolve(page, calls=tuple(call for call, entry in calls if entry == "new"))
        checkpoint = encode_checkpoint(self.index, self._fingerprint, self._events)
        self._events.clear()
        return Step(self.index, page, newer, checkpoint)

    def report(self) -> SourceReport:
        """Return what can be said of the source now."""
        cover = self.cover
        conclusion = cover.conclusion or Conclusion("incomplete", "Reading was stopped before the end.")
        if self.delivered < len(self.seen_ids):
            conclusion = Conclusion("incomplete", "The caller did not take everything that was read.")
        tau = conclusion.complete_as_of
        return SourceReport(
            source=self.source,
            verdict=conclusion.verdict,
            reason=conclusion.reason,
            expected=cover.count if self.since is None else None,
            received=self.delivered,
            duplicates=self.seen_ids.repeats - self.repeated,
            updates=self.seen_ids.updates,
            requests=self._requests_before + cover.requests,
            retries=self.retries,
            sweeps=cover.sweeps,
            gaps_repaired=cover.gaps_repaired,
            overlapping_rows=self.repeated,
            misfits=self.misfits,
            complete_as_of=datetime.fromtimestamp(tau, UTC) if tau is not None else None,
            failures=tuple(self.failures),
        )


def _failures_of_page(error: FutureAGIError) -> int:
    """Return how often a page failed for what may be one of its rows; 0 where no row can be the reason.

    An error that is sure to come again counts twice.
    """
    if isinstance(error, TLSError):
        return 0
    if not isinstance(error, InternalServerError | DecodingError | APIConnectionError):
        return 0
    return max(1, error.attempts) if error.retryable else 2


def _past_the_end(number: int, now: float, retries: int) -> Received:
    """What a version list's 404 tells: only that it holds no more rows than lie before the page."""
    return Received(
        number=number,
        count=None,
        ids=[],
        keys=[],
        has_next=False,
        sent_at=now,
        received_at=now,
        server_time=None,
        body_bytes=0,
        slots_full=False,
        retries=retries,
        failures=[],
    )
