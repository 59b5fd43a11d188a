"""Holds a job's requests back while its server is gone, and finds out when it is there again."""

from collections.abc import Awaitable, Callable
from typing import Protocol, Self, TypeAlias, TypeVar

import anyio

from futureagi_async._http.clock import Clock
from futureagi_async._sansio.retrying import (
    Outage,
    OutageDetector,
    is_answered,
    is_asked_again,
    is_unanswered,
)
from futureagi_async.errors import APIConnectionError, FutureAGIError
from futureagi_async.events import Event, OutageBegan, OutageEnded, ProbePlanned

T = TypeVar("T")
Probe: TypeAlias = Callable[[], Awaitable[object]]
"""Asks whether the server answers: for something small, without retries."""


class JobContext(Protocol):
    """What a job needs of the session that it belongs to."""

    @property
    def clock(self) -> Clock:
        """Time and chance."""
        ...

    @property
    def was_answered(self) -> bool:
        """Whether anything was answered yet, if only by a gateway."""
        ...

    def emit(self, event: Event) -> None:
        """Tell the observers and the log."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; raise `SessionMisuseError` where the session is closed meanwhile."""
        ...

    def refill_quota(self) -> None:
        """Forget what retries cost."""
        ...


class OutageGate:
    """What all requests of one job go through; used by ``with`` for as long as the job runs.

    A request that nobody answered, with all its tries, is no failure yet. The gate sends a *probe*: one
    request without retries, where possible one that was answered before. If it is answered, the server is
    there, and the request is asked again. If not, an *outage* has begun: nothing new is sent but one probe
    at a time, with growing pauses, until one is answered. Then what failed is asked again with all its
    tries, and the rest goes on.

    After ``max_seconds`` without any answer the job is over. With 0 nothing is waited for, and neither is a
    server that has not yet answered anything, as its address may be wrong: then a failure is one at once,
    and the job is over after many unanswered requests in a row.
    """

    def __init__(self, max_seconds: float, context: JobContext) -> None:
        self._max_seconds = max_seconds
        self._context = context
        self._clock = context.clock
        self._detector = OutageDetector()
        self._outage: Outage | None = None
        self._outages = 0
        """How many there were, the present one included."""
        self._answered_at = float("-inf")
        self._probe: Probe | None = None
        """The probe of a request that was answered."""
        self._probes_answered = 0
        self._probing = anyio.Lock()
        """Held by the task that waits and probes; the others stand in line."""
        self._last_error: FutureAGIError | None = None
        self._gave_up_after: float | None = None
        """Seconds without an answer."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_outage(answered=False)

    @property
    def is_over(self) -> bool:
        """Whether the job has to end, because asking on is of no use."""
        return self._gave_up_after is not None or self._detector.is_out

    def not_asked(self) -> APIConnectionError:
        """Return the error of requests that are not sent, because the job is over."""
        why = f"{self._detector.failures} requests in a row failed"
        if self._gave_up_after is not None:
            why = f"no request was answered for {self._gave_up_after:.0f} s (max_outage)"
        return APIConnectionError(f"Not requested: {why}, the last with: {self._last_error}", retryable=True)

    async def ask(
        self, fetch: Callable[[], Awaitable[T]], probe: Probe, *, optional: bool = False
    ) -> tuple[T, int]:
        """Return what ``fetch`` gives, and how often it was sent in vain before; outages are waited out.

        ``probe`` asks for something small, without retries. An ``optional`` request has another way.
        """
        failures = tries = 0
        while True:
            while self._outage is not None:
                await self._wait(probe, self._clock.monotonic())
            if self.is_over:
                raise self.not_asked()
            asked_at = self._clock.monotonic()
            try:
                value = await fetch()
            except FutureAGIError as error:
                failure = error
            else:
                self._answered(probe)
                return value, tries
            failures += 1
            tries += failure.attempts
            if self._is_waited_out(failure):
                was_out = await self._wait(probe, asked_at)
                if not self.is_over and is_asked_again(failures, was_out=was_out, optional=optional):
                    continue
            raise self._failed(failure)

    def _is_waited_out(self, error: FutureAGIError) -> bool:
        """Whether a failure says nothing of the request itself, as long as nobody answers others either."""
        if not self._max_seconds or not self._context.was_answered:
            return False
        return is_unanswered(error) or (
            self._outage is not None and error.retryable and not is_answered(error)
        )

    def _failed(self, error: FutureAGIError) -> FutureAGIError:
        """Take a request's final failure into account, and return the error to raise."""
        if is_answered(error):
            self._answered()
        self._detector.failed(error)
        if self._gave_up_after is None:
            self._last_error = error
        else:
            how_long = f"No request was answered for {self._gave_up_after:.0f} s (max_outage)."
            error.message = f"{error.message.rstrip('.')}. {how_long}"
            error.args = (error.message,)
        return error

    async def _wait(self, probe: Probe, asked_at: float) -> bool:
        """Return when a probe is answered, or the job is over; whether one was not answered meanwhile."""
        answered, outages, is_out = self._probes_answered, self._outages, self._outage is not None
        while self._probes_answered == answered and not self.is_over:
            async with self._probing:
                if self._probes_answered == answered and not self.is_over:
                    await self._send(self._probe or probe, asked_at)
        return is_out or self._outages > outages

    async def _send(self, probe: Probe, asked_at: float) -> None:
        """Send a probe, after a pause where the one before was not answered; or give up."""
        if self._outage is not None:
            now = self._clock.monotonic()
            delay_seconds = self._outage.probe_delay_seconds(now, self._clock.jitter())
            if delay_seconds is None:
                self._gave_up_after = now - self._outage.answered_at
                self._end_outage(answered=False)
                return
            self._context.emit(ProbePlanned(delay_seconds=delay_seconds))
            await self._context.sleep(delay_seconds)
        try:
            await probe()
        except FutureAGIError as error:
            if not is_answered(error):
                if not error.retryable:
                    raise
                self._unanswered(error, asked_at)
                return
        self._end_outage(answered=True)
        self._answered()
        self._probes_answered += 1

    def _answered(self, probe: Probe | None = None) -> None:
        """Take note that the server is there, and of a probe that it would answer."""
        self._answered_at = self._clock.monotonic()
        self._probe = probe or self._probe
        self._detector.succeeded()
        if self._outage is not None:  # of a request that was sent before it
            self._outage.answered_at = self._answered_at

    def _unanswered(self, error: FutureAGIError, asked_at: float) -> None:
        """Take note that a probe was not answered."""
        self._last_error = error
        if self._outage is None:
            self._outage = Outage(max(asked_at, self._answered_at), self._max_seconds)
            self._outages += 1
            self._context.emit(
                OutageBegan(
                    error=type(error).__name__,
                    status=error.status,
                    seconds=self._clock.monotonic() - self._outage.answered_at,
                    max_outage=self._max_seconds,
                )
            )
        self._outage.probes += 1

    def _end_outage(self, *, answered: bool) -> None:
        outage, self._outage = self._outage, None
        if outage is None:
            return
        seconds = self._clock.monotonic() - outage.answered_at
        self._context.emit(OutageEnded(answered=answered, seconds=seconds, probes=outage.probes))
        if answered:
            self._context.refill_quota()
