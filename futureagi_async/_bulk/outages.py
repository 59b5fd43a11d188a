"""Holds back the requests of a job while the server is down, and probes until it answers again."""

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
"""Sends a small request without retries."""


class JobContext(Protocol):
    """What a job needs of its session."""

    @property
    def clock(self) -> Clock:
        """The source of time and randomness."""
        ...

    @property
    def was_answered(self) -> bool:
        """Whether any response arrived yet, even from a gateway."""
        ...

    def emit(self, event: Event) -> None:
        """Send an event to the observers and the log."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; raise `SessionMisuseError` if the session is closed during the wait."""
        ...

    def refill_quota(self) -> None:
        """Reset the quota of retries."""
        ...


class OutageGate:
    """Handles outages for all requests of one job. Use it in a ``with`` block for the whole job.

    A request that got no response in all its attempts has not failed yet. The gate first sends a *probe*: one
    request without retries, if possible one that was answered before. If the probe is answered, the server is
    up, and the request is sent again. If not, an *outage* begins: the gate sends only one probe at a time,
    with growing pauses, until one is answered. Then the failed requests are sent again with all their
    attempts, and the others continue.

    After ``max_seconds`` without a response the job ends. With 0 the gate never waits; nor does it wait for a
    server that has not answered anything yet, because its URL may be wrong. Then each failure counts at once,
    and the job ends after many unanswered requests in a row.
    """

    def __init__(self, max_seconds: float, context: JobContext) -> None:
        self._max_seconds = max_seconds
        self._context = context
        self._clock = context.clock
        self._detector = OutageDetector()
        self._outage: Outage | None = None
        self._outages = 0
        """Number of outages, including the present one."""
        self._answered_at = float("-inf")
        self._probe: Probe | None = None
        """The probe of a request that was answered."""
        self._probes_answered = 0
        self._probing = anyio.Lock()
        """Held by the task that waits and probes; the other tasks wait for it."""
        self._last_error: FutureAGIError | None = None
        self._gave_up_after: float | None = None
        """Seconds without a response."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_outage(answered=False)

    @property
    def is_over(self) -> bool:
        """Whether the job must end, because further requests are useless."""
        return self._gave_up_after is not None or self._detector.is_out

    def not_asked(self) -> APIConnectionError:
        """Return the error of requests that are not sent, because the job has ended."""
        why = f"{self._detector.failures} requests in a row failed"
        if self._gave_up_after is not None:
            why = f"no request was answered for {self._gave_up_after:.0f} s (max_outage)"
        return APIConnectionError(f"Not requested: {why}, the last with: {self._last_error}", retryable=True)

    async def ask(
        self, fetch: Callable[[], Awaitable[T]], probe: Probe, *, optional: bool = False
    ) -> tuple[T, int]:
        """Return the result of ``fetch``, and how many times it was sent without a response before.

        Outages are waited for. ``probe`` sends something small, without retries. An ``optional`` request has
        an alternative.
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
        """Whether a failure says nothing about the request, as long as other requests are not answered."""
        if not self._max_seconds or not self._context.was_answered:
            return False
        return is_unanswered(error) or (
            self._outage is not None and error.retryable and not is_answered(error)
        )

    def _failed(self, error: FutureAGIError) -> FutureAGIError:
        """Record the final failure of a request, and return the error to raise."""
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
        """Return when a probe is answered, or the job ends. Return whether a probe was not answered."""
        answered, outages, is_out = self._probes_answered, self._outages, self._outage is not None
        while self._probes_answered == answered and not self.is_over:
            async with self._probing:
                if self._probes_answered == answered and not self.is_over:
                    await self._send(self._probe or probe, asked_at)
        return is_out or self._outages > outages

    async def _send(self, probe: Probe, asked_at: float) -> None:
        """Send a probe, after a pause if the previous one was not answered; or give up."""
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
        """Record that the server answers, and a probe that it would answer."""
        self._answered_at = self._clock.monotonic()
        self._probe = probe or self._probe
        self._detector.succeeded()
        if self._outage is not None:  # of a request that was sent before it
            self._outage.answered_at = self._answered_at

    def _unanswered(self, error: FutureAGIError, asked_at: float) -> None:
        """Record that a probe was not answered."""
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
