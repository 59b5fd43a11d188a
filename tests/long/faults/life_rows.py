"""Rows 28 to 40: what callers, time and neighbours do to a session."""

import asyncio
import itertools
import logging
import os
import pickle
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from unittest import mock

import aiohttp
import anyio

from futureagi_async import FutureAGIError, RunTestCalls, Session, Timeouts
from futureagi_async._http.clock import SystemClock
from futureagi_async.testing import Motion, StandInServer, VirtualClock
from tests.long.faults.scenes import Fault, PageResult, Scene, ask, kind_of, session_options, tries_of
from tests.support.raw_server import open_files, raw_server, refuse
from tests.support.sessions import (
    FOREVER,
    UNKNOWN_ID,
    FakeClock,
    Play,
    answer,
    open_session,
    send_part_and_stall,
    stay_silent,
    wait_until,
)


def cancelled(play: Play, **options: Any) -> Scene:
    """Cancel a request under way: asyncio's own error, and everything is free for the next."""

    async def scene() -> PageResult:
        async with (
            raw_server(play) as server,
            open_session(server, **session_options(**options)) as session,
        ):
            task = asyncio.create_task(session.get_kpis(UNKNOWN_ID))
            await wait_until(lambda: server.requests)
            await anyio.wait_all_tasks_blocked()
            task.cancel("mine")
            try:
                result: BaseException | object = await task
            except asyncio.CancelledError as error:
                result = error
            await server.wait_until_left()
            server.play_on(answer())
            after = await ask(session)
        return PageResult(f"{kind_of(result)} {result}, then {kind_of(after)}")

    return scene


async def closed_at_work() -> PageResult:
    """Closing ends what is under way and what waits, and each id says so."""
    async with StandInServer() as server:
        ids = server.call_execution_ids()[:50]
        server.stall(times=FOREVER, after=10)
        async with open_session(server, **session_options(max_in_flight=4)) as session:
            job = asyncio.create_task(session.fetch_call_executions(ids))
            await wait_until(lambda: server.in_flight == 4)  # every slot, so the ten before are done
            await session.close()
            outcomes = await job
        await wait_until(lambda: not server.in_flight)
    assert [outcome.id for outcome in outcomes] == ids
    values = sum(outcome.error is None for outcome in outcomes)
    (kind,) = {kind_of(outcome.error) for outcome in outcomes if outcome.error is not None}
    return PageResult(f"{values} values, then {kind}")


class Cancelling(aiohttp.TCPConnector):
    """A connector that cancels whoever asks, as a closing one does."""

    async def connect(self, *_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError


async def cancelled_from_below() -> PageResult:
    """Nobody cancelled the caller, so it is an error of the connection."""
    async with (
        raw_server(answer()) as server,
        Cancelling() as connector,
        open_session(server, **session_options(connector=connector)) as session,
    ):
        result = await ask(session)
    return PageResult(kind_of(result), tries_of(result))


async def connector_closed() -> PageResult:
    """Whoever closes the connector under a session is told so."""
    async with (
        raw_server(stay_silent) as server,
        aiohttp.TCPConnector() as connector,
        open_session(server, **session_options(connector=connector)) as session,
    ):
        task = asyncio.create_task(ask(session))
        await wait_until(lambda: server.requests)
        await connector.close()
        result = await task
        await server.wait_until_left()
    return PageResult(kind_of(result))


def leaves(how: Exception | None) -> Scene:
    """Leave a stream early, by break or by an error of one's own: the producers end before the block does."""

    async def read(session: Session, source: RunTestCalls) -> None:
        async with session.stream_calls([source], page_size=20) as stream:
            async for _ in stream:
                if how is not None:
                    raise how
                break

    async def scene() -> PageResult:
        async with StandInServer() as server:
            source, files = RunTestCalls(server.add_run_test(1_000, slim=True)), open_files()
            async with open_session(server, **session_options(max_in_flight=4)) as session:
                before = asyncio.all_tasks()
                (result,) = await asyncio.gather(read(session, source), return_exceptions=True)
                left = asyncio.all_tasks() - before
            await wait_until(lambda: open_files() <= files)
            assert len(server.requests) < 20
        return PageResult(f"{kind_of(result)}, {len(left)} tasks left")

    return scene


def misused(how: Callable[[Session], Awaitable[object]]) -> Scene:
    """Use a session where it can't be used: an error at once, and it still works where it can."""

    async def scene() -> PageResult:
        async with (
            raw_server(answer()) as server,
            open_session(server, **session_options()) as session,
        ):
            await session.get_kpis(UNKNOWN_ID)
            result = await how(session)
            await session.get_kpis(UNKNOWN_ID)
        return PageResult(kind_of(result), len(server.requests) - 2)

    return scene


async def in_another_thread(session: Session) -> object:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(ask(session))))
    thread.start()
    await asyncio.to_thread(thread.join)
    return results[0]


async def after_a_fork(session: Session) -> object:
    requester = session._requester
    home = requester._home
    assert home is not None
    with mock.patch.object(requester, "_home", (os.getpid() + 1, home[1])):
        return await ask(session)


async def not_open(session: Session) -> object:
    return await ask(Session("key", "secret", "http://127.0.0.1:9"))


async def after_closing(session: Session) -> object:
    other: AbstractAsyncContextManager[Session] = Session("key", "secret", "http://127.0.0.1:9")
    async with other as closed:
        pass
    return await ask(closed)


class VirtualTime:
    """A stand-in's virtual clock, as its session's: requests and pauses move it on."""

    def __init__(self, clock: VirtualClock) -> None:
        self.monotonic = clock.monotonic
        self._clock = clock

    def jitter(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        self._clock.advance(seconds)


async def moving_list() -> PageResult:
    """A list that is re-ordered while it is read is complete, or says that it is not."""
    async with StandInServer(demo=False, request_seconds=0.2) as server:
        run_test = server.add_run_test(600, slim=True)
        server.move(run_test, Motion(seed=1, updates=5.0, inserts=1.0, soft_deletes=1.0))
        server.clock.advance(6.0)
        async with open_session(server, max_in_flight=8, clock=VirtualTime(server.clock)) as session:
            result = await session.fetch_calls([RunTestCalls(run_test)])
        front = [request for request in server.requests if request.query["page"] == "1"][-1]
        missed = server.alive_throughout(run_test, front.started, front.ended) - {
            call.id for call in result.calls
        }
    return PageResult(f"complete: {result.report.complete}, {len(missed)} missed")


async def vanished() -> PageResult:
    """A record deleted between list and detail is told of, and the others are read."""
    async with StandInServer() as server:
        ids = server.call_execution_ids()[:9]
        async with open_session(server, **session_options(max_response_bytes=2**26)) as session:
            outcomes = await session.fetch_call_executions([*ids[:5], UNKNOWN_ID, *ids[5:]])
    (gone,) = (outcome for outcome in outcomes if outcome.error is not None)
    assert gone.id == UNKNOWN_ID
    return PageResult(f"{len(outcomes) - 1} values, {kind_of(gone.error)}")


class SteadyClock(SystemClock):
    """The machine's clock, without chance."""

    def jitter(self) -> float:
        return 0.0


async def clock_jumps() -> PageResult:
    """The wall clock jumps back a year each time somebody looks: pauses and limits know only the other."""
    back = itertools.count(time.time(), -365 * 86_400.0)
    throttled = refuse(429, head="Retry-After: 0.05\r\n")
    began = time.monotonic()
    async with raw_server(throttled, answer()) as server:
        with mock.patch("time.time", side_effect=back):
            settings = {"timeouts": Timeouts(attempt=2, deadline=4), "clock": SteadyClock()}
            async with open_session(server, max_in_flight=1, **settings) as session:
                result = await ask(session)
    assert time.monotonic() - began < SHORT_SECONDS
    return PageResult(kind_of(result), len(server.requests))


SHORT_SECONDS = 3.0
CANARIES = ("c4n4ry-api-5f2c91", "c4n4ry-secret-8d07ab", "c4n4ry-proxy")


async def keys_repeated() -> PageResult:
    """A server that repeats the keys in all it says finds them in no error, event, log or attribute."""
    api_key, secret_key, password = CANARIES
    body = f'{{"detail": "{api_key} {secret_key}"}}'
    play = refuse(400, body, head=f"X-Request-Id: {api_key}\r\n")
    shown: list[object] = []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("futureagi_async")
    level = log.level
    async with raw_server(play) as server:
        proxy = f"http://someone:{password}@127.0.0.1:{server.port}"
        options = {"proxy": proxy, "observers": [shown.append], "clock": FakeClock()}
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)
        try:
            async with Session(api_key, secret_key, server.base_url, **options) as session:  # type: ignore[arg-type]
                result = await ask(session)
                transport = session._requester._transport
                shown += [session, vars(session._requester), vars(transport), [transport._keys.headers()]]
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
    assert isinstance(result, FutureAGIError)
    shown += [result, repr(result), vars(result), pickle.dumps(result)]
    seen = "\n".join(map(str, shown)) + "\n".join(map(repr, shown))
    found = sum("c4n4ry" in line for line in seen.splitlines())
    return PageResult(f"{kind_of(result)}, {found} lines show a key")


CANCELLED = PageResult("CancelledError mine, then value")
MISUSE = PageResult("SessionMisuseError", 0)
LIFE_ROWS = [
    Fault(28, "cancelled before the answer", cancelled(stay_silent), CANCELLED),
    Fault(28, "cancelled within the body", cancelled(send_part_and_stall), CANCELLED),
    Fault(29, "closed with work under way", closed_at_work, PageResult("10 values, then SessionMisuseError")),
    Fault(30, "cancelled from below", cancelled_from_below, PageResult("APIConnectionError", 4)),
    Fault(30, "connector closed by its owner", connector_closed, PageResult("SessionMisuseError")),
    Fault(31, "consumer breaks off", leaves(None), PageResult("value, 0 tasks left")),
    Fault(31, "consumer raises", leaves(KeyError("mine")), PageResult("KeyError, 0 tasks left")),
    Fault(32, "used in another thread", misused(in_another_thread), MISUSE),
    Fault(32, "used after a fork", misused(after_a_fork), MISUSE),
    Fault(32, "used before opening", misused(not_open), MISUSE),
    Fault(32, "used after closing", misused(after_closing), MISUSE),
    Fault(33, "list moves while it is read", moving_list, PageResult("complete: True, 0 missed")),
    Fault(34, "record gone before its detail", vanished, PageResult("9 values, NotFoundError")),
    Fault(39, "wall clock jumps", clock_jumps, PageResult("value", 2)),
    Fault(
        40, "keys repeated by the server", keys_repeated, PageResult("BadRequestError, 0 lines show a key")
    ),
]
