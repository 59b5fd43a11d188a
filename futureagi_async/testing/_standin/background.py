"""Runs a web server on its own event loop, in a thread that ends with it."""

from __future__ import annotations

import asyncio
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_LONGEST_LINE = 1 << 20
"""The longest request line. It is large, because the site itself refuses long URLs."""

_TURNS_TO_SETTLE = 3
"""Iterations of the event loop before the end: new connections get their transport, so that it can be closed,
and cut-off connections close their socket."""

_CLOSING_SECONDS = 0.02
"""The seconds for a connection to end normally. Handlers are cancelled before that."""


class BackgroundServer:
    """Serves a handler on loopback between `start` and `stop`. Both methods block until they are done."""

    def __init__(self, handler: Handler, host: str, port: int) -> None:
        self._handler = handler
        self._host = host
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._handling: set[asyncio.Task[object]] = set()
        self._transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()

    @property
    def port(self) -> int:
        """The port in use. Before the start, the requested port, which may be 0."""
        return self._port

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Start to listen, or raise the `OSError` of the operating system."""
        if self._thread is not None:
            raise RuntimeError("the server is already running")
        started = threading.Event()
        failures: list[BaseException] = []
        self._thread = threading.Thread(
            target=self._run, args=(started, failures), name="stand-in-server", daemon=True
        )
        self._thread.start()
        started.wait()
        if failures:
            self._thread.join()
            self._thread = None
            raise failures[0]

    def stop(self) -> None:
        """Close every connection and end the thread. Does nothing if the server is not running."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = None

    def _run(self, started: threading.Event, failures: list[BaseException]) -> None:
        try:
            asyncio.run(self._serve(started))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for the start
            failures.append(error)
        finally:
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = web.Server(
            self._handle,
            handler_cancellation=True,
            access_log=None,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_CLOSING_SECONDS)
        await runner.setup()
        try:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            listening = socket.create_server((self._host, self._port), family=family)
            site = web.SockSite(runner, listening)
            await site.start()
            self._port = runner.addresses[0][1]
            started.set()
            await self._stopping.wait()
            with suppress(NotImplementedError):  # of Windows' event loop
                self._loop.remove_reader(listening)
            # A connection that is accepted at this moment would fail if the site is closed.
            await _let_settle()
            await site.stop()
            for task in self._handling:
                task.cancel()
        finally:
            await runner.cleanup()
            for transport in tuple(self._transports):
                transport.abort()  # if a client has unread bytes, closing would wait for it
            await _let_settle()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is not None:
            self._handling.add(task)
        if isinstance(request.transport, asyncio.WriteTransport):
            self._transports.add(request.transport)
        try:
            return await self._handler(request)
        finally:
            self._handling.discard(task)


async def _let_settle() -> None:
    for _ in range(_TURNS_TO_SETTLE):
        await asyncio.sleep(0)
