"""A server of a hundred thousand records that fails a tenth of all requests, each time in another way.

It runs in a process of its own; the port is the first line that it prints. ``GET /stats`` tells what it did.
"""

import asyncio
import gzip
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import partial
from urllib.parse import parse_qs, urlsplit

ROWS_A_LIST = 10_000
_NEWEST = datetime(2026, 2, 1, tzinfo=UTC)
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_TEXT = "Grüß Gott, 你好, here is what was said. " * 8


def record_id(number: int) -> str:
    """Return a record's id."""
    return f"{number:08x}-0000-4000-8000-00000000beef"


def list_id(number: int) -> str:
    """Return a run test's id."""
    return f"{number:08x}-0000-4000-8000-00000000cafe"


def record(number: int) -> bytes:
    """Return a record's bytes; within a list the newest has the lowest number."""
    moment = _NEWEST - timedelta(seconds=number % ROWS_A_LIST)
    value = {
        "id": record_id(number),
        "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "status": "completed",
        "overall_score": number % 1000 / 100,
        "call_summary": f"Record {number}: {_TEXT}",
        "number": number,
    }
    return json.dumps(value, ensure_ascii=False).encode()


def body_of(target: str, rows: int) -> bytes:
    """Return the answer to a request for one of the ``rows`` records, or for a page of a list of them."""
    parts = urlsplit(target)
    words = parts.path.split("/")
    number = int(words[3][:8], 16)
    if words[2] == "call-executions":
        return record(number)
    query = parse_qs(parts.query)
    page, limit = int(query["page"][0]), int(query["limit"][0])
    size = min(ROWS_A_LIST, rows - number * ROWS_A_LIST)
    first, last = min(size, (page - 1) * limit), min(size, page * limit)
    records = b",".join(record(number * ROWS_A_LIST + row) for row in range(first, last))
    more = b'"more"' if last < size else b"null"
    return b'{"count": %d, "next": %s, "previous": null, "results": [%s]}' % (size, more, records)


def http(
    body: bytes, status: str = "200 OK", *, head: str = "", length: int | None = None, gzipped: bool = False
) -> bytes:
    """Return a whole answer."""
    if gzipped:
        head += "Content-Encoding: gzip\r\n"
    size = len(body) if length is None else length
    lines = f"HTTP/1.1 {status}\r\nDate: {formatdate(usegmt=True)}\r\nContent-Length: {size}\r\n{head}\r\n"
    return lines.encode() + body


class Connection(asyncio.Protocol):
    """One connection; every request on it may fail."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            self._server.handle(self, head.split(b" ", 2)[1].decode())

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def send_and_close(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()

    def reset(self, data: bytes = b"") -> None:
        """Send some bytes, and end the connection with an RST."""
        self.transport.write(data)
        self.transport.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER, 0 s
        self.transport.abort()

    def drip(self, data: bytes) -> None:
        """Send bytes one by one, for as long as somebody waits."""
        if not self.transport.is_closing() and data:
            self.transport.write(data[:1])
            asyncio.get_running_loop().call_later(0.05, self.drip, data[1:])


Play = Callable[[Connection, bytes], None]


def _zipped(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


def _sends(make: Callable[[bytes], bytes], *, close: bool = False) -> Play:
    def play(connection: Connection, body: bytes) -> None:
        (connection.send_and_close if close else connection.send)(make(body))

    return play


def _refuses(status: str, body: bytes = b"<html>No.</html>", head: str = "") -> Play:
    return _sends(lambda _: http(body, status, head=head))


FAULTS: dict[str, Play] = {
    "closed before the answer": lambda connection, _: connection.transport.close(),
    "closed within the headers": _sends(lambda _: b"HTTP/1.1 200 OK\r\nConte", close=True),
    "reset before the answer": lambda connection, _: connection.reset(),
    "reset within the body": lambda connection, body: connection.reset(http(body)[:-9]),
    "body cut, length known": _sends(lambda body: http(body[:-9], length=len(body)), close=True),
    "last chunk missing": _sends(lambda body: _CHUNKED + b"%x\r\n%s\r\n" % (len(body), body), close=True),
    "body cut, no framing": _sends(lambda body: b"HTTP/1.1 200 OK\r\n\r\n" + body[:-9], close=True),
    "gzip cut": _sends(lambda body: http(_zipped(body)[:-9], gzipped=True)),
    "gzip, bad checksum": _sends(lambda body: http(_zipped(body)[:-8] + bytes(8), gzipped=True)),
    "gzip that is none": _sends(lambda body: http(body, gzipped=True)),
    "junk behind gzip": _sends(lambda body: http(_zipped(body) + b"junk", gzipped=True)),
    "headers drip": lambda connection, _: connection.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 999),
    "body drips": lambda connection, body: connection.drip(http(b" " * 999 + body)),
    "stalls before the answer": lambda *_: None,
    "stalls within the body": _sends(lambda body: http(body)[:-9]),
    "garbage": _sends(lambda _: b"SSH-2.0-OpenSSH_9.6\r\n\r\n", close=True),
    "huge header": _sends(lambda body: http(body, head=f"X-Huge: {'x' * 20_000}\r\n")),
    "two lengths": _sends(lambda body: http(body, head="Content-Length: 1\r\n"), close=True),
    "two answers to one request": _sends(lambda body: http(body) + http(b'{"id": "foreign"}')),
    "HTML instead": _sends(lambda _: http(b"<html>Please log in</html>")),
    "empty body": _sends(lambda _: http(b"")),
    "null instead": _sends(lambda _: http(b"null")),
    "invalid JSON": _sends(lambda body: http(body[:-1] + b",}")),
    "invalid UTF-8": _sends(lambda body: http(body[:-2] + b"\xff" + body[-2:])),
    "408": _refuses("408 Request Timeout"),
    "429": _refuses("429 Too Many Requests", head="Retry-After: 1\r\n"),
    "500": _refuses("500 Internal Server Error"),
    "502": _refuses("502 Bad Gateway"),
    "503": _refuses("503 Service Unavailable"),
    "504": _refuses("504 Gateway Timeout"),
}


class Server:
    """Answers, and fails, as its seed says."""

    def __init__(self, rows: int, rate: float, seed: int) -> None:
        self._rows = rows
        self._rate = rate
        self._chance = random.Random(seed)
        self._kinds = list(FAULTS)
        self._requests = 0
        self._faults: Counter[str] = Counter()

    def handle(self, connection: Connection, target: str) -> None:
        """Deal with one request."""
        if target == "/stats":
            stats = {"requests": self._requests, "faults": self._faults}
            connection.send(http(json.dumps(stats).encode()))
            return
        self._requests += 1
        body = body_of(target, self._rows)
        if self._chance.random() >= self._rate:
            connection.send(http(body))
            return
        kind = self._chance.choice(self._kinds)
        self._faults[kind] += 1
        FAULTS[kind](connection, body)

    async def run(self) -> None:
        """Serve until the standard input ends."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(partial(Connection, self), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
        await loop.run_in_executor(None, sys.stdin.read)
        server.close()


if __name__ == "__main__":
    asyncio.run(Server(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])).run())
