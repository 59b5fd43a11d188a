"""An application under a real uvicorn on loopback, with an event loop of its own in a thread."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import uvicorn

_ENDING_SECONDS = 2.0
"""What tasks that the server has cancelled may take to end."""


class ServedApp:
    """Serves an application as long as the block; afterwards `tasks_left` holds what did not end.

    ``turn_seconds`` collects what the event loop's thread spent of CPU in each turn of the loop: how long
    others had to wait for it, whatever else the machine was doing.
    """

    def __init__(self, app: Any, *, graceful_seconds: int | None = None) -> None:
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                port=0,
                lifespan="on",
                log_level="critical",
                ws="none",
                timeout_graceful_shutdown=graceful_seconds,
            )
        )
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="served-app")
        self._ready = threading.Event()
        self.tasks_left: set[asyncio.Task[Any]] = set()
        self.turn_seconds: list[float] = []
        self.port: int = self._socket.getsockname()[1]

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._server.server_state.connections)

    @property
    def tasks(self) -> int:
        """How many tasks there are besides the server's own."""
        asked = asyncio.run_coroutine_threadsafe(self._count_tasks(), self._loop)
        return asked.result(timeout=10)

    @contextmanager
    def watched(self) -> Iterator[list[float]]:
        """Collect ``turn_seconds`` within the block."""
        watching = asyncio.run_coroutine_threadsafe(self._watch(), self._loop)
        try:
            yield self.turn_seconds
        finally:
            watching.cancel()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Shut down as on SIGTERM, and wait until that is done."""
        self._server.should_exit = True
        self._thread.join(timeout=20)
        assert not self._thread.is_alive(), "the server does not stop"
        self._socket.close()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.001)
        self._own_tasks = len(asyncio.all_tasks())
        self._ready.set()
        await serving
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            _, self.tasks_left = await asyncio.wait(others, timeout=_ENDING_SECONDS)

    async def _count_tasks(self) -> int:
        return len(asyncio.all_tasks()) - self._own_tasks - 1

    async def _watch(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.turn_seconds.append(now - before)
            before = now
