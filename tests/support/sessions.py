"""What the session's tests talk to: stand-ins, raw servers on real sockets, and a clock that never waits."""

import asyncio
import gzip
import json
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.request import Request, urlopen

import anyio
import anyio.lowlevel
import trustme

from futureagi_async import CallSource, RunTestCalls, Session, TestExecutionCalls
from futureagi_async.testing import StandInServer

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
KPIS_BODY = b'{"total_calls": 1}'
FOREVER = 10**6

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FakeClock:
    """Stands still but for sleepers, who move it on at once; with ``held`` they wait for `advance`."""

    def __init__(self, *, jitter: float = 0.5, held: bool = False) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.roll = jitter
        self.held = held
        self._sleepers: list[tuple[float, anyio.Event]] = []

    @property
    def sleepers(self) -> int:
        """How many wait now."""
        return len(self._sleepers)

    def monotonic(self) -> float:
        return self.now

    def jitter(self) -> float:
        return self.roll

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if not self.held:
            self.now += seconds
            await anyio.lowlevel.checkpoint()
            return
        sleeper = (self.now + seconds, anyio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake whose time has come."""
        self.now += seconds
        for due, wake in self._sleepers:
            if due <= self.now:
                wake.set()


def make_session(server: Any, **options: Any) -> Session:
    """Make a session on a stand-in or a raw server, without opening it."""
    api_key = getattr(server, "api_key", "raw-api-key")
    secret_key = getattr(server, "secret_key", "raw-secret-key")
    return Session(api_key, secret_key, options.pop("base_url", None) or server.base_url, **options)


@asynccontextmanager
async def open_session(server: Any, **options: Any) -> AsyncIterator[Session]:
    """Open a session, and check after closing it that it left no task behind."""
    before = asyncio.all_tasks()
    try:
        async with make_session(server, **options) as session:
            yield session
    finally:
        check_no_task_left(before)


def check_no_task_left(before: set[asyncio.Task[Any]]) -> None:
    """Assert that every task which was not there before has ended."""
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert not left, left


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does, at most some seconds."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - a thread sets no event of ours
            await anyio.sleep(0.001)


async def let_requests_arrive(server: StandInServer) -> None:
    """Make some round trips of another session, in which whatever was sent before is noted by the server."""
    async with make_session(server) as other:
        for _ in range(3):
            await other.get_kpis(server.test_execution_ids[0])


class RawServer:
    """Plays with each request, in its own way: the first with the first, and the last again and again.

    ``requests`` holds the head of every request as it arrived. It lives in a thread, so that what happens
    in the test's event loop is the client's doing.
    """

    def __init__(self, *plays: Play, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._plays = list(plays)
        self._tls = tls
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    @property
    def base_url(self) -> str:
        """Where it listens; over TLS as ``localhost``, the name in `tls_contexts`."""
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    def play_on(self, play: Play) -> None:
        """Play so with all requests from now on."""
        self._plays = [play]

    async def wait_until_left(self) -> None:
        """Wait until no connection is open, at most some seconds."""
        await wait_until(lambda: not self._tasks)

    async def __aenter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda *_: None)  # failed handshakes are what some tests want
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._ending.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()  # what a client left unread would keep its socket open
        for _ in range(3):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        self.connections += 1
        try:
            while not writer.is_closing():
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                play = self._plays[min(len(self.requests), len(self._plays)) - 1]
                await play(reader, writer)
        except (asyncio.CancelledError, asyncio.IncompleteReadError, OSError):
            pass  # the client or the test is done
        finally:
            writer.close()
            self._tasks.discard(task)


def answer(
    body: bytes = KPIS_BODY, *, head: str = "", length: int | None = None, close: bool = False
) -> Play:
    """Answer 200 with a body, further header lines, and perhaps a wrong length; then perhaps close."""
    size = len(body) if length is None else length
    lines = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n{head}\r\n"
    return send(lines.encode() + body, close=close)


def send(data: bytes, *, close: bool = True) -> Play:
    """Send just these bytes, and close."""

    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return play


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the connection with an RST."""
    writer.transport.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER, 0 s
    writer.transport.abort()


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send an answer that never ends, a byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.005)


async def stay_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Answer nothing until the client goes away."""
    await reader.read()


async def send_part_and_stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the beginning of a body, and no more."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await reader.read()


def zipped(body: bytes = KPIS_BODY) -> bytes:
    """Compress a body."""
    return gzip.compress(body, mtime=0)


def tls_contexts(name: str = "localhost") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a server's TLS context with a certificate for a name, and a client's that trusts it."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(server)
    authority.configure_trust(client)
    return server, client


def read_body(server: StandInServer, path: str) -> Any:
    """Ask a stand-in without any client of ours, for a body to doctor; then forget the request."""
    keys = {"X-Api-Key": server.api_key, "X-Secret-Key": server.secret_key}
    with urlopen(Request(server.base_url + path, headers=keys), timeout=10) as response:
        body = json.load(response)
    server.clear_requests()
    return body


def respond(server: StandInServer, path_contains: str, value: Mapping[str, Any], **options: Any) -> None:
    """Let the stand-in answer with a doctored body."""
    server.respond(path_contains, body=json.dumps(value).encode(), **options)


def rows_of(server: StandInServer, source: CallSource) -> list[str]:
    """Return the ids that a perfect reader gets of a source."""
    if isinstance(source, RunTestCalls):
        return server.run_test_rows(source.run_test_id)
    if isinstance(source, TestExecutionCalls):
        return server.test_execution_rows(source.test_execution_id)
    return server.version_rows(source.agent_id, source.version_id)
