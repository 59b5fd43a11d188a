"""Rows 1 to 18: connections that fail, and answers that are none."""

import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import aiohttp
import trustme
from aiohttp.abc import AbstractResolver

from futureagi_async import RetryPolicy, Timeouts
from tests.long.faults.scenes import (
    Fault,
    PageResult,
    Scene,
    ask,
    kind_of,
    session_options,
    unreachable,
    wire,
)
from tests.support.raw_server import (
    CHUNKED,
    GZIP,
    LIMIT,
    drip_headers,
    json_answer,
    raw_server,
    reset_after,
    two_answers,
    zipped_bomb,
)
from tests.support.sessions import (
    KPIS_BODY,
    UNKNOWN_ID,
    answer,
    drip,
    open_session,
    reset,
    send,
    send_part_and_stall,
    stay_silent,
    zipped,
)

CUT = PageResult("APIConnectionError", 4, "value")
"""Tried until patience ends; gone, all is well."""
GARBLED = PageResult("APIConnectionError", 2, "value")
"""What is not HTTP is asked for once more."""
NO_JSON = PageResult("DecodingError", 2, "value")
SLOW = PageResult("APITimeoutError", 4, "value")
HOPELESS = PageResult("DecodingError", 1, "DecodingError")
UNHARMED = PageResult("value", once="value")
TOO_LARGE = PageResult("ResponseTooLargeError", 1, "ResponseTooLargeError")
UNTRUSTED = PageResult("TLSError", 1, "TLSError")


class NoNames(AbstractResolver):
    """A resolver that knows no name."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> Any:
        raise OSError(None, "no such name")

    async def close(self) -> None:
        pass


@asynccontextmanager
async def unknown_name() -> AsyncIterator[dict[str, Any]]:
    async with aiohttp.TCPConnector(resolver=NoNames()) as connector:
        yield {"base_url": "https://nowhere.invalid", "connector": connector}


@asynccontextmanager
async def closed_port() -> AsyncIterator[dict[str, Any]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield {"base_url": f"http://127.0.0.1:{port}"}


@asynccontextmanager
async def full_backlog() -> AsyncIterator[dict[str, Any]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address, timeout=1):  # the one that fits
            yield {"base_url": f"http://127.0.0.1:{address[1]}", "timeouts": Timeouts(connect=0.05)}


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def tls(name: str = "localhost", *, trusting: bool = True, expired: bool = False) -> Scene:
    """Ask a server whose certificate can't be trusted, in one way or another."""

    async def scene() -> PageResult:
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        begin = yesterday - datetime.timedelta(days=9)
        valid: dict[str, Any] = {"not_before": begin, "not_after": yesterday} if expired else {}
        authority().issue_cert(name, **valid).configure_cert(server)
        authority().configure_trust(client)
        return await wire(answer(), tls=server, ssl_context=client if trusting else None)()

    return scene


async def closes_a_used_connection() -> PageResult:
    """The second request on a connection finds it closed: nobody notices."""
    async with (
        raw_server(answer(), send(b""), answer()) as server,
        open_session(server, **session_options(retry=RetryPolicy(1))) as session,
    ):
        await session.get_kpis(UNKNOWN_ID)
        result = await ask(session)
    return PageResult(kind_of(result), len(server.requests) - 1)


async def answers_twice() -> PageResult:
    """The second answer is never taken for the next request's."""
    async with (
        raw_server(send(two_answers(), close=False), answer()) as server,
        open_session(server, **session_options()) as session,
    ):
        totals = [(await session.get_kpis(UNKNOWN_ID)).total_calls for _ in range(3)]
    return PageResult(f"values {totals}", len(server.requests))


def headed(lines: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n" + lines + b"\r\n" + KPIS_BODY


BAD_CHECKSUM = zipped()[:-8] + b"\0\0\0\0" + zipped()[-4:]
MANY_HEADERS = b"".join(b"X-%d: 1\r\n" % number for number in range(5_000))
BOTH_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
PATIENCE: dict[str, Any] = {"timeouts": Timeouts(attempt=0.05)}
DEEP = b'{"total_calls": 1, "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"

WIRE_ROWS = [
    Fault(1, "name does not resolve", unreachable(unknown_name), PageResult("APIConnectionError", 2)),
    Fault(2, "connection refused", unreachable(closed_port), PageResult("APIConnectionError", 2)),
    Fault(3, "connection never accepted", unreachable(full_backlog), PageResult("APITimeoutError", 2)),
    Fault(4, "unknown authority", tls(trusting=False), UNTRUSTED),
    Fault(4, "certificate of another host", tls("other.invalid"), UNTRUSTED),
    Fault(4, "certificate expired", tls(expired=True), UNTRUSTED),
    Fault(5, "closed before the answer", wire(send(b"")), CUT),
    Fault(5, "kept connection closed", closes_a_used_connection, PageResult("value", 2)),
    Fault(6, "reset before the answer", wire(reset), CUT),
    Fault(6, "reset within the headers", wire(reset_after(b"HTTP/1.1 200 OK\r\nCont")), CUT),
    Fault(6, "reset within the body", wire(reset_after(headed(b"")[:-5])), CUT),
    Fault(7, "body cut, length known", wire(answer(length=500, close=True)), CUT),
    Fault(8, "last chunk missing", wire(send(CHUNKED + b"2\r\n{}\r\n")), CUT),
    Fault(8, "cut within a chunk", wire(send(CHUNKED + b"ff\r\n{}")), CUT),
    Fault(9, "body cut, no framing", wire(send(b"HTTP/1.1 200 OK\r\n\r\n" + KPIS_BODY[:-1])), NO_JSON),
    Fault(10, "gzip cut", wire(answer(zipped()[:-9], head=GZIP)), CUT),
    Fault(10, "gzip, bad checksum", wire(answer(BAD_CHECKSUM, head=GZIP)), CUT),
    Fault(10, "gzip that is none", wire(answer(head=GZIP)), CUT),
    Fault(10, "junk behind gzip", wire(answer(zipped() + b"junk", head=GZIP)), CUT),
    Fault(11, "unknown encoding", wire(answer(head="Content-Encoding: br\r\n")), HOPELESS),
    Fault(11, "encoded twice", wire(answer(zipped(), head="Content-Encoding: gzip, gzip\r\n")), HOPELESS),
    Fault(12, "bomb", wire(answer(zipped_bomb(50 * 2**20), head=GZIP)), TOO_LARGE),
    Fault(12, "body too large", wire(answer(KPIS_BODY + b" " * LIMIT)), TOO_LARGE),
    Fault(12, "endless body", wire(send(CHUNKED + b"fffff\r\n" + bytes(0xFFFFF))), TOO_LARGE),
    Fault(13, "headers drip", wire(drip_headers, **PATIENCE), SLOW),
    Fault(13, "body drips", wire(drip, **PATIENCE), SLOW),
    Fault(14, "stalls before the answer", wire(stay_silent, timeouts=Timeouts(read=0.05)), SLOW),
    Fault(14, "stalls within the body", wire(send_part_and_stall, timeouts=Timeouts(read=0.05)), SLOW),
    Fault(15, "garbage", wire(send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")), GARBLED),
    Fault(15, "huge header", wire(send(headed(b"X-Huge: " + b"x" * 50_000 + b"\r\n"))), GARBLED),
    Fault(15, "too many headers", wire(send(headed(MANY_HEADERS))), GARBLED),
    Fault(15, "length and chunks", wire(send(BOTH_LENGTHS)), GARBLED),
    Fault(15, "two lengths", wire(send(headed(b"Content-Length: 1\r\n"))), GARBLED),
    Fault(16, "two answers to one request", answers_twice, PageResult("values [1, 1, 1]", 3)),
    Fault(17, "HTML instead", wire(answer(b"<html>Please log in</html>")), NO_JSON),
    Fault(17, "empty body", wire(answer(b"")), NO_JSON),
    Fault(17, "null instead", wire(answer(b"null")), NO_JSON),
    Fault(17, "list instead", wire(json_answer([])), NO_JSON),
    Fault(18, "invalid JSON", wire(answer(b'{"total_calls": 1,}')), NO_JSON),
    Fault(18, "invalid UTF-8", wire(answer(b'{"total_calls": 1, "x": "\xff"}')), NO_JSON),
    Fault(18, "NaN", wire(answer(b'{"total_calls": NaN}')), NO_JSON),
    Fault(18, "number beyond floats", wire(answer(b'{"total_calls": 1e999}')), UNHARMED),
    Fault(18, "nested too deeply", wire(answer(DEEP)), NO_JSON),
    Fault(18, "a key twice", wire(answer(b'{"total_calls": 1, "total_calls": 2}')), NO_JSON),
    Fault(18, "lone surrogate", wire(answer(b'{"total_calls": 1, "x": "\\ud800"}')), NO_JSON),
    Fault(
        18,
        "byte order mark",
        wire(answer(b'\xef\xbb\xbf{"total_calls": 1}')),
        PageResult("value", None, "value"),
    ),
]
