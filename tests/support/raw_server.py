"""What a server can do with a request, beyond `tests.servers`: each is one way to misbehave."""

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.sessions import KPIS_BODY, Play, RawServer, answer, reset, send, wait_until

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GZIP = "Content-Encoding: gzip\r\n"
LIMIT = 100_000
"""Bytes of an answer that the faults' sessions take."""


def refuse(status: int, body: bytes | str | dict[str, Any] = b"", head: str = "") -> Play:
    """Answer with an error status."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    content = content.encode() if isinstance(content, str) else content
    lines = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(content)}\r\n{head}\r\n"
    return send(lines.encode() + content, close=False)


def api_error(message: str) -> dict[str, Any]:
    """Build the body of an error of the API's own."""
    texts = dict.fromkeys(("detail", "message", "error", "result"), message)
    return {"status": False, "type": "server_error", "code": "server_error", **texts}


def json_answer(value: Any) -> Play:
    """Answer 200 with a value."""
    return answer(json.dumps(value).encode())


def reset_after(data: bytes) -> Play:
    """Send some bytes, and then end the connection with an RST."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.01)  # an RST overtakes what is still under way
        await reset(reader, writer)

    return play


async def drip_headers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send headers that never end, a byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.005)


def zipped_bomb(decoded_bytes: int) -> bytes:
    """Compress so many zeros."""
    return gzip.compress(bytes(decoded_bytes), mtime=0)


def two_answers() -> bytes:
    """Build an answer, and one that nobody asked for behind it."""
    foreign = KPIS_BODY.replace(b"1", b"666")
    return b"".join(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        for body in (KPIS_BODY, foreign)
    )


def open_files() -> int:
    """Return how many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@asynccontextmanager
async def raw_server(*plays: Play, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Run a raw server; in the end its client must leave no socket open, not even one in a handshake."""
    async with RawServer(*plays, tls=tls) as server:
        files = open_files()
        yield server
        await wait_until(lambda: open_files() <= files)
