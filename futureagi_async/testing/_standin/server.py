"""The stand-in server as its users hold it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from futureagi_async.testing._standin.background import BackgroundServer
from futureagi_async.testing._standin.clock import VirtualClock
from futureagi_async.testing._standin.data.builders import Samples, build_samples
from futureagi_async.testing._standin.data.records import World
from futureagi_async.testing._standin.faces.faults import FaultMethods
from futureagi_async.testing._standin.faces.motion import MotionMethods
from futureagi_async.testing._standin.motion import Schedule
from futureagi_async.testing._standin.web.faults import FaultScript
from futureagi_async.testing._standin.web.request import Backend
from futureagi_async.testing._standin.web.site import Site
from futureagi_async.testing._standin.wire.dialect import DOCUMENTED, SERVED, DialectName

if TYPE_CHECKING:
    from types import TracebackType

    from futureagi_async.testing._standin.request_log import ServedRequest

_DIALECTS = {"served": SERVED, "documented": DOCUMENTED}


class StandInServer(MotionMethods, FaultMethods):
    """A real HTTP server on loopback that behaves like the vendor's, with data that follows from a seed.

    It runs on an event loop of its own in a thread, so both kinds of tests can use it::

        with StandInServer() as server: ...
        async with StandInServer(dialect="documented") as server: ...

    Args:
        dialect: `"served"`, what the vendor's server answers, or `"documented"`, what its documents promise.
        seed: everything random follows from it: equal seeds and requests give equal bytes.
        latency_seconds: real time every request waits; the attribute may be changed while running.
        api_key: what `X-Api-Key` must say.
        secret_key: what `X-Secret-Key` must say.
        host: the address to listen on.
        port: 0 takes a free one.
        demo: whether to make the sample data set.
        request_seconds: virtual seconds each request takes; with 0 the clock is the machine's.

    """

    def __init__(
        self,
        *,
        dialect: DialectName = "served",
        seed: int = 0,
        latency_seconds: float = 0.0,
        api_key: str = "standin-api-key",
        secret_key: str = "standin-secret-key",  # noqa: S107 - opens nothing but this server
        host: str = "127.0.0.1",
        port: int = 0,
        demo: bool = True,
        request_seconds: float = 0.0,
    ) -> None:
        if dialect not in _DIALECTS:
            raise ValueError(f"dialect must be 'served' or 'documented', not {dialect!r}")
        self.dialect: DialectName = dialect
        self.api_key = api_key
        self.secret_key = secret_key
        self.clock = VirtualClock(request_seconds)
        self._world = World(seed)
        self._samples = build_samples(self._world) if demo else Samples()
        self._faults = FaultScript()
        self._schedule = Schedule()
        self._movers = []
        backend = Backend(self._world, _DIALECTS[dialect])
        self._site = Site(backend, self.clock, self._faults, (api_key, secret_key), self._catch_up)
        self._site.latency_seconds = latency_seconds
        self._host = host
        self._background = BackgroundServer(self._site.handle, host, port)

    def __enter__(self) -> Self:
        self._background.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._background.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._background.start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Whoever cancels the caller must not leave the thread running behind its back.
        await asyncio.shield(asyncio.to_thread(self._background.stop))

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:<port>`, without a slash at the end."""
        if not self._background.is_running:
            raise RuntimeError("the server has no address before it runs: use it in a `with` block")
        return f"http://{self._host}:{self._background.port}"

    @property
    def run_test_ids(self) -> tuple[str, ...]:
        """The sample run tests: voice, text, and a small one with every status and missing values."""
        return self._samples.run_test_ids

    @property
    def agent_versions(self) -> tuple[tuple[str, str], ...]:
        """The sample agent versions as `(agent_id, version_id)`: two voice versions and a text version."""
        return self._samples.agent_versions

    @property
    def test_execution_ids(self) -> tuple[str, ...]:
        """The sample test executions: of the voice, the text and the small run test."""
        return self._samples.test_execution_ids

    @property
    def latency_seconds(self) -> float:
        """Real seconds every request waits before it is answered."""
        return self._site.latency_seconds

    @latency_seconds.setter
    def latency_seconds(self, seconds: float) -> None:
        self._site.latency_seconds = seconds

    @property
    def requests(self) -> list[ServedRequest]:
        """What was served, in the order in which it ended: a copy, up to 100,000 of the newest."""
        return self._site.journal.read()

    def clear_requests(self) -> None:
        """Forget what was served, and begin `peak_in_flight` anew."""
        self._site.journal.clear()

    @property
    def in_flight(self) -> int:
        """How many requests are being handled now."""
        return self._site.journal.in_flight

    @property
    def peak_in_flight(self) -> int:
        """The greatest number of requests handled at once."""
        return self._site.journal.peak_in_flight
