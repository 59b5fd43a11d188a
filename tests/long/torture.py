"""Cancels, and closes, a bulk job at every one of its steps, and looks at what is left.

``python -m tests.long torture`` does it at each step; ``--every 20`` at some. A step is what a task does
between two awaits; all tasks of the client's event loop are counted, the HTTP client's too. The
server lives in another thread, and is gone for a while, so that retries and probes are under way as well.
"""

import argparse
import asyncio
import contextvars
import sys
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import attrs

from futureagi_async import FutureAGIError, Outcome, RunTestCalls, Session, SessionMisuseError
from futureagi_async.testing import StandInServer
from tests.support.raw_server import open_files
from tests.support.sessions import FakeClock, make_session, wait_until

IDS = 200
ROWS = 400
PAGE_SIZE = 20
ENDING_SECONDS = 1.0
BLOWS = ("cancel", "close")


class Steps:
    """Counts the steps of an event loop's tasks, and strikes at one of them."""

    def __init__(self, strike_at: int | None = None) -> None:
        self.taken = 0
        self.strike_at = strike_at
        self.strike: Callable[[], object] = lambda: None

    def make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> "asyncio.Task[Any]":
        """Make a task whose steps are counted; the event loop's task factory."""
        return asyncio.Task(_Counted(coroutine, self), loop=loop, **options)

    def step(self) -> None:
        """Count one step."""
        self.taken += 1
        if self.taken == self.strike_at:
            self.strike()


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine that counts how often it is resumed."""

    def __init__(self, inner: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def send(self, value: Any) -> Any:
        self._steps.step()
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        self._steps.step()
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)  # anyio asks for cr_await and the like


@attrs.define
class Job:
    """What a job did until it ended."""

    ids: list[str]
    outcomes: list[Outcome[Any]] | None = None
    taken: list[str] = attrs.field(factory=list)
    """Ids of the records that the consumer got of a stream."""
    received: int = 0
    """How many the stream's report counts."""
    error: BaseException | None = None

    async def run(self, session: Session, source: RunTestCalls) -> None:
        """Read details of many ids, and a list, one after the other."""
        try:
            self.outcomes = await session.fetch_call_executions(self.ids)
            async with session.stream_calls([source], page_size=PAGE_SIZE, consistency="fast") as stream:
                try:
                    async for call in stream:
                        self.taken.append(call.id)
                finally:
                    self.received = stream.report.received
        except (FutureAGIError, asyncio.CancelledError) as error:
            self.error = error


async def torture(
    server: StandInServer, source: RunTestCalls, blow: str, step: int | None
) -> tuple[Job, int]:
    """Run the job with a blow at a step, check what is left, and return the job and its steps."""
    job = Job(server.call_execution_ids()[:IDS])
    server.clear_faults()
    server.fail("call-executions", times=20, after=7, status=502)  # an outage
    loop, steps = asyncio.get_running_loop(), Steps(step)
    struck_at, closing = 0.0, list[asyncio.Task[None]]()
    tasks, files = asyncio.all_tasks(), open_files()
    session = make_session(server, clock=FakeClock(), max_in_flight=4)
    async with session:
        context = contextvars.copy_context()

        def strike() -> None:
            nonlocal struck_at
            struck_at = time.perf_counter()
            if blow == "cancel":
                task.cancel()
            else:
                closing.append(asyncio.Task(session.close(), loop=loop, context=context))

        steps.strike = strike
        loop.set_task_factory(steps.make_task)
        try:
            task = loop.create_task(job.run(session, source))
            await asyncio.wait({task})
        finally:
            loop.set_task_factory(None)
        seconds = time.perf_counter() - struck_at
        await asyncio.gather(*closing)
        if blow == "cancel":
            await check_usable(session, server)
    check_job(job, blow, struck=bool(struck_at))
    assert not struck_at or seconds < ENDING_SECONDS, f"ended after {seconds:.2f} s"
    assert asyncio.all_tasks() == tasks, asyncio.all_tasks() - tasks
    await wait_until(lambda: open_files() <= files)  # the server has its ends in this process, too
    return job, steps.taken


async def check_usable(session: Session, server: StandInServer) -> None:
    """Assert that every slot and connection came back."""
    requester = session._requester
    client = requester._transport._client
    assert client is not None
    assert requester._slots.taken == 0
    assert not requester._running
    assert client.connector is not None
    assert not client.connector._acquired
    assert (await session.get_kpis(server.test_execution_ids[0])).total_calls


def check_job(job: Job, blow: str, *, struck: bool) -> None:
    """Assert that each input has one outcome, and nothing was delivered twice."""
    if not struck:
        assert job.error is None, job.error
        assert len(job.taken) == ROWS
    if job.error is not None:
        expected = asyncio.CancelledError if blow == "cancel" else SessionMisuseError
        assert isinstance(job.error, expected), repr(job.error)
    if job.outcomes is not None:
        assert [outcome.id for outcome in job.outcomes] == job.ids
        errors = {type(outcome.error) for outcome in job.outcomes if outcome.error is not None}
        assert errors <= ({SessionMisuseError} if blow == "close" and struck else set()), errors
    else:
        assert blow == "cancel", "outcomes were lost"
    assert len(job.taken) == len(set(job.taken)), "delivered twice"
    assert job.received <= len(job.taken) + PAGE_SIZE, (job.received, len(job.taken))


async def torture_all(every: int, first: int = 1) -> dict[str, int]:
    """Strike at every so many steps in both ways; return how often."""
    struck = dict.fromkeys(BLOWS, 0)
    async with StandInServer() as server:
        source = RunTestCalls(server.add_run_test(ROWS, slim=True))
        await torture(server, source, "cancel", None)  # once, so that all is loaded
        _, steps = await torture(server, source, "cancel", None)
        for blow in BLOWS:
            for step in range(first, steps + 1, every):
                try:
                    await torture(server, source, blow, step)
                except AssertionError as error:
                    error.add_note(f"{blow} at step {step} of {steps}")
                    raise
                struck[blow] += 1
    return struck


def main() -> int:
    """Torture, and say how often."""
    parser = argparse.ArgumentParser(prog="python -m tests.long torture", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="strike at every so many steps only")
    began = time.perf_counter()
    struck = asyncio.run(torture_all(parser.parse_args().every))
    counts = ", ".join(f"{blow} at {count} steps" for blow, count in struck.items())
    print(f"{counts}: no leak, no outcome lost, {time.perf_counter() - began:.0f} s")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
