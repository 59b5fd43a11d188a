"""Servers in processes of their own, so that only the client's CPU is counted.

``python -m benchmarks.servers LIMIT LATENCY`` is the one with ready pages.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import attrs

from benchmarks.pages import LIST_ROWS, VOICE, make_page

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@attrs.define(frozen=True)
class Address:
    """Where to read, and as whom."""

    base_url: str
    api_key: str = "key"
    secret_key: str = "secret"
    run_test_id: str = "00000000-0000-4000-8000-000000000001"

    @property
    def headers(self) -> dict[str, str]:
        """The keys, as a client of any make sends them."""
        return {"X-Api-Key": self.api_key, "X-Secret-Key": self.secret_key}

    def page_url(self, page: int, limit: int) -> str:
        """Return the address of one page."""
        path = f"/simulate/run-tests/{self.run_test_id}/call-executions/"
        return f"{self.base_url}{path}?page={page}&limit={limit}"


@contextmanager
def serving_sample(*, latency_seconds: float = 0.0) -> Iterator[Address]:
    """Run ``python -m futureagi_async serve``: the stand-in, with its sample of voice calls."""
    with _running("futureagi_async", "serve", "--latency", str(latency_seconds)) as output:
        said: dict[str, str] = {}
        for line in output:
            if line.startswith("# Serving"):
                break
            name, _, value = (
                line.removeprefix("export ").strip().replace("# --run-test ", "id=").partition("=")
            )
            said.setdefault(name, value)
        yield Address(said["FI_BASE_URL"], said["FI_API_KEY"], said["FI_SECRET_KEY"], said["id"])


@contextmanager
def serving_pages(limit: int, *, latency_seconds: float = 0.0) -> Iterator[Address]:
    """Serve a list of 3,000 big voice calls whose pages of ``limit`` were made beforehand."""
    with _running("benchmarks.servers", str(limit), str(latency_seconds)) as output:
        yield Address(output.readline().strip())


@contextmanager
def _running(module: str, *arguments: str) -> Iterator[IO[str]]:
    """Run a module until the block ends; yield what it prints."""
    command = [sys.executable, "-m", module, *arguments]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    with server.stdout:
        try:
            yield server.stdout
        finally:
            server.terminate()
            server.wait()


class ReadyPages(asyncio.Protocol):
    """Answers each request on a connection after a while, with as little CPU as can be."""

    def __init__(self, answers: list[tuple[bytes, bytes]], latency_seconds: float) -> None:
        self._answers = answers
        self._latency_seconds = latency_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take one request: clients neither pipeline nor send them in pieces."""
        assert data.endswith(b"\r\n\r\n"), data
        target = data.partition(b" HTTP/")[0]
        page = int(target.partition(b"page=")[2].partition(b"&")[0])
        answer = self._answers[(page - 1) % len(self._answers)]
        asyncio.get_running_loop().call_later(self._latency_seconds, self._transport.writelines, answer)


async def serve(limit: int, latency_seconds: float) -> None:
    """Answer with ready pages, until the process is ended."""
    bodies = [make_page(VOICE, rows=limit, seed=seed) for seed in range(LIST_ROWS // limit)]
    answers = [(HEAD % len(body), body) for body in bodies]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ReadyPages(answers, latency_seconds), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
