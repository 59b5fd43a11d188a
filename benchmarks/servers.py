"""Servers in processes of their own, so that only the client's CPU is counted.

``python -m benchmarks.servers LIMIT LATENCY`` is the one with ready pages, ``... list ROWS`` the one with a
list whose pages are put together when they are asked for.
"""

import asyncio
import json
import random
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import IO

import attrs

from benchmarks.pages import LIST_ROWS, VOICE, Dice, make_page

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
            if line.startswith("# Press Ctrl-C"):
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
def serving_list(rows: int) -> Iterator[Address]:
    """Serve a list of so many different big voice calls at rest, in pages of any size."""
    with _running("benchmarks.servers", "list", str(rows)) as output:
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


class RestingList(asyncio.Protocol):
    """Answers each request with a page of a list that is sorted as the server sorts it, newest first."""

    KINDS = 500
    """Different contents: ids and times are each row's own."""
    _NEWEST = datetime(2026, 1, 8, 9, tzinfo=UTC)

    def __init__(self, rows: int, contents: list[bytes]) -> None:
        self._rows = rows
        self._contents = contents

    @classmethod
    def contents(cls) -> list[bytes]:
        """Return what the rows hold besides id and time, without the brace at its beginning."""
        dice = Dice(random.Random("list"))
        made = [VOICE.row(dice) for _ in range(cls.KINDS)]
        kept = [{key: row[key] for key in row if key not in ("id", "timestamp")} for row in made]
        return [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()[1:] for row in kept]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take one request: clients neither pipeline nor send them in pieces."""
        assert data.endswith(b"\r\n\r\n"), data
        found = dict(re.findall(rb"(page|limit)=([0-9]+)", data.partition(b" HTTP/")[0]))
        body = self._page(int(found[b"page"]), int(found[b"limit"]))
        head = HEAD % len(body)
        date = f"Date: {formatdate(usegmt=True)}\r\n\r\n".encode()  # what proofs compare the rows' times with
        self._transport.writelines((head.removesuffix(b"\r\n"), date, body))

    def _page(self, page: int, limit: int) -> bytes:
        end = min(page * limit, self._rows)
        rows = b",".join(map(self._row, range((page - 1) * limit, end)))
        following = b'"http://127.0.0.1/?page=%d"' % (page + 1) if end < self._rows else b"null"
        total = -(-self._rows // limit)
        return b'{"count":%d,"next":%b,"previous":null,"results":[%b],"total_pages":%d,"current_page":%d}' % (
            self._rows,
            following,
            rows,
            total,
            page,
        )

    def _row(self, place: int) -> bytes:
        moment = (self._NEWEST - timedelta(seconds=place)).isoformat().replace("+00:00", "Z")
        head = f'{{"id":"{uuid.UUID(int=place, version=4)}","timestamp":"{moment}",'
        return head.encode() + self._contents[place % self.KINDS]


async def serve_list(rows: int) -> None:
    """Serve a list, until the process is ended."""
    contents = RestingList.contents()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: RestingList(rows, contents), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


async def serve(limit: int, latency_seconds: float) -> None:
    """Answer with ready pages, until the process is ended."""
    bodies = [make_page(VOICE, rows=limit, seed=seed) for seed in range(LIST_ROWS // limit)]
    answers = [(HEAD % len(body), body) for body in bodies]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ReadyPages(answers, latency_seconds), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "list":
        asyncio.run(serve_list(int(sys.argv[2])))
    else:
        asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
