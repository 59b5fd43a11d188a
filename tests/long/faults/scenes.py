"""What a fault is, and how one is seen: from the public API, and by the server."""

import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import anyio
import attrs

from futureagi_async import FutureAGIError, RetryPolicy, Session
from tests.support.raw_server import LIMIT, raw_server
from tests.support.sessions import UNKNOWN_ID, FakeClock, Play, answer, open_session

SCENE_SECONDS = 10.0


@attrs.define(frozen=True)
class PageResult:
    """What became of a request, or of a job."""

    outcome: str
    """The class of the error, or what was got instead."""
    tries: int | None = None
    """How often the session sent it."""
    once: str | None = None
    """What becomes of it where the fault happens only once."""


Scene: TypeAlias = Callable[[], Awaitable[PageResult]]


@attrs.define(frozen=True)
class Fault:
    """One fault: its row in the fault table, how to bring it about, and what must be seen."""

    row: int
    name: str
    scene: Scene = attrs.field(repr=False)
    expected: PageResult

    async def play(self) -> PageResult:
        """Bring it about, within some seconds."""
        with anyio.fail_after(SCENE_SECONDS):
            return await self.scene()


def kind_of(value: object) -> str:
    """Name an error's class, or say that it is none."""
    return type(value).__name__ if isinstance(value, BaseException) else "value"


async def ask(session: Session, asking: Callable[[], Awaitable[object]] | None = None) -> object:
    """Ask, by default for something small; an error of ours is a result, any other is raised."""
    try:
        return await (asking() if asking else session.get_kpis(UNKNOWN_ID))
    except FutureAGIError as error:
        return error


def tries_of(result: object) -> int | None:
    """Return how often a failed request was sent."""
    return result.attempts if isinstance(result, FutureAGIError) else None


def session_options(**more: Any) -> dict[str, Any]:
    """Return the settings of all faults' sessions: one slot, and a clock that never really waits."""
    return {"max_in_flight": 1, "clock": FakeClock(), "max_response_bytes": LIMIT, **more}


def wire(play: Play, *, tls: ssl.SSLContext | None = None, **options: Any) -> Scene:
    """Let a server misbehave with every request, and another with the first only.

    The session's only slot and a connection must be free for the next request, which is answered.
    """

    async def scene() -> PageResult:
        async with (
            raw_server(play, tls=tls) as server,
            open_session(server, **session_options(**options)) as session,
        ):
            result = await ask(session)
            server.play_on(answer())
            after = await ask(session)
        async with (
            raw_server(play, answer(), tls=tls) as server,
            open_session(server, **session_options(**options)) as session,
        ):
            once = await ask(session)
        trusted = tls is None
        assert not trusted or kind_of(after) == "value", after
        return PageResult(kind_of(result), tries_of(result), kind_of(once))

    return scene


def unreachable(options: Callable[[], Any]) -> Scene:
    """Ask a server that no connection leads to; ``options`` is an async context manager of settings."""

    async def scene() -> PageResult:
        async with options() as more:
            settings = session_options(retry=RetryPolicy(2), **more)
            async with open_session(None, **settings) as session:
                result = await ask(session)
        return PageResult(kind_of(result), tries_of(result))

    return scene
