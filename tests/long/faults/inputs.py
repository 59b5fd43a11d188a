"""JSON that is none, and HTTP that is none: by kind, as bytes."""

import asyncio
import json
import math
import zlib
from collections.abc import Callable, Generator, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
import anyio
import attrs
import msgspec

from futureagi_async import FutureAGIError, Session
from futureagi_async._bulk import channel
from futureagi_async._http import requester, transport
from futureagi_async._http.requester import Requester
from futureagi_async._http.transport import Transport
from futureagi_async._sansio import decoding, replies, retrying
from futureagi_async._sansio.decoding import ListBody
from futureagi_async._sansio.decoding.wire import ListWire
from futureagi_async.errors import RedirectError
from futureagi_async.models import RecordFailure

NUMBERS = (
    b"01 -01 - -- +1 .5 -.5 1. 1.e3 1e 1e+ 1ee3 0x10 0b1 1_000 1,000. NaN nan -NaN Infinity -Infinity inf "
    b"1e999 -1e999 1.2.3 1f 1L 0777"
).split()
STRINGS = [
    b'"',
    b'"abc',
    b"'abc'",
    b"abc",
    b"`abc`",
    b'"\\x41"',
    b'"\\u12"',
    b'"\\u00ZZ"',
    b'"\\U00000041"',
    b'"\\',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\ud800\\u0041"',
    b'"a\tb"',
    b'"a\nb"',
    b'"a\x00b"',
    b'"a\x1bb"',
    b'"a" "b"',
    b'"a""b"',
]
NESTING = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'[{"a":' * 50_000,
    b"[" * 100_000 + b"]" * 100_000,
    b"[[[]]",
    b"[]]",
    b"{}}",
    b"[}",
    b"{]",
    b"[{]}",
    b"]",
    b"}",
]
ENCODINGS = [
    "Grüße".encode("latin-1").join((b'"', b'"')),
    '"Grüße"'.encode("utf-16"),
    '"Grüße"'.encode("utf-32"),
    b"\xef\xbb\xbf1",
    b'"\xc0\xaf"',
    b'"\xe2\x82"',
    b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"',
    b'"\x80"',
    b'"\xff\xfe"',
    b"\x00",
    b"\xc2\xa01",
]
STRUCTURES = [
    b"",
    b" ",
    b",",
    b":",
    b"[1,]",
    b"[,1]",
    b"[1,,2]",
    b"[1 2]",
    b"[1]x",
    b'{"a":1,}',
    b"{,}",
    b'{"a"}',
    b'{"a":}',
    b'{"a" 1}',
    b"{a:1}",
    b"{'a':1}",
    b'{"a":1 "b":2}',
    b"{1:2}",
    b"{null:1}",
    b"{}{}",
    b"// c\n{}",
    b"/* c */{}",
    b"# c",
    b"tru",
    b"nul",
    b"TRUE",
    b"undefined",
    b"<html>",
]
KINDS: Mapping[str, list[bytes]] = {
    "numbers": NUMBERS,
    "strings": STRINGS,
    "nesting": NESTING,
    "encodings": ENCODINGS,
    "structures": STRUCTURES,
}

PLACES: Mapping[str, bytes] = {
    "the body": b"%s",
    "a figure": b'{"total_calls": %s}',
    "a field without a name of ours": b'{"total_calls": 1, "x": %s}',
    "a record": b'{"count": 1, "results": [%s]}',
    "a record's score": b'{"count": 1, "results": [{"id": "a", "overall_score": %s}]}',
    "a record's transcript": b'{"count": 1, "results": [{"id": "a", "transcript": %s}]}',
    "a turn's words": b'{"count": 1, "results": [{"id": "a", "transcript": [{"content": %s}]}]}',
    "a record's evaluations": b'{"count": 1, "results": [{"id": "a", "eval_outputs": %s}]}',
    "a record's unknown field": b'{"count": 1, "results": [{"id": "a", "x": %s}]}',
    "the count": b'{"count": %s, "results": []}',
    "an unknown key of the envelope": b'{"count": 0, "results": [], "x": %s}',
}

_OK = b"HTTP/1.1 200 OK\r\n"
_BODY = b'{"total_calls": 1}'
_LENGTH = b"Content-Length: 18\r\n"
HTTP: Mapping[str, bytes] = {
    "nothing": b"",
    "one byte": b"H",
    "an empty line": b"\r\n",
    "many empty lines": b"\r\n" * 100 + b"x",
    "only a status line": _OK,
    "no status": b"HTTP/1.1\r\n\r\n",
    "a status in words": b"HTTP/1.1 OK OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a negative status": b"HTTP/1.1 -200 OK\r\n\r\n",
    "status 0": b"HTTP/1.1 000 OK\r\n\r\n",
    "status 999": b"HTTP/1.1 999 Hm\r\nContent-Length: 0\r\n\r\n",
    "status 100 and no more": b"HTTP/1.1 100 Continue\r\n\r\n",
    "status 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "status 204 with a body": b"HTTP/1.1 204 No Content\r\n" + _LENGTH + b"\r\n" + _BODY,
    "status 304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "a lower-case protocol": b"http/1.1 200 OK\r\n" + _LENGTH + b"\r\n",
    "another protocol": b"ICY 200 OK\r\n\r\n",
    "HTTP/9": b"HTTP/9.9 200 OK\r\n" + _LENGTH + b"\r\n",
    "HTTP/2's greeting": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18),
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "FTP": b"220 ready\r\n",
    "a body alone": _BODY,
    "HTML alone": b"<html></html>",
    "NULs": bytes(1000),
    "a header without a colon": _OK + b"Content-Length 18\r\n\r\n" + _BODY,
    "a header without a name": _OK + b": 18\r\n\r\n" + _BODY,
    "a NUL in a header": _OK + b"X: a\x00b\r\n" + _LENGTH + b"\r\n" + _BODY,
    "a lone CR in a header": _OK + b"X: a\rb\r\n" + _LENGTH + b"\r\n" + _BODY,
    "a folded header": _OK + b"X: a\r\n b\r\n" + _LENGTH + b"\r\n" + _BODY[:3],
    "raw bytes in a header": _OK + b"X: \xff\xfe\r\n" + _LENGTH + b"\r\n" + _BODY[:3],
    "an endless header": _OK + b"X: " + b"x" * 100_000,
    "a negative length": _OK + b"Content-Length: -1\r\n\r\n" + _BODY,
    "a length in words": _OK + b"Content-Length: many\r\n\r\n" + _BODY,
    "a length of 2^70": _OK + b"Content-Length: 1180591620717411303424\r\n\r\n" + _BODY,
    "two lengths": _OK + _LENGTH + b"Content-Length: 5\r\n\r\n" + _BODY,
    "a list of lengths": _OK + b"Content-Length: 18, 5\r\n\r\n" + _BODY,
    "length and chunks": _OK + _LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks of no size": _OK + b"Transfer-Encoding: chunked\r\n\r\n\r\n",
    "chunks of words": _OK + b"Transfer-Encoding: chunked\r\n\r\nmany\r\n",
    "chunks of negative size": _OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n",
    "chunks of 2^70 bytes": _OK + b"Transfer-Encoding: chunked\r\n\r\n400000000000000000\r\nx",
    "chunks without their ends": _OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    "gzip and nothing": _OK + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
}
"""Each of these is an error; none is an answer."""


Patch = tuple[object, str, Any]
"""An object, the name of one of its attributes, and another value for it."""


def get_with(**changes: Any) -> list[Patch]:
    """Let the HTTP client be asked otherwise."""
    get = aiohttp.ClientSession.get
    return [(aiohttp.ClientSession, "get", lambda self, url, **more: get(self, url, **(more | changes)))]


def without_limit(limit: str) -> list[Patch]:
    make = aiohttp.ClientTimeout
    return [(aiohttp, "ClientTimeout", lambda **given: make(**(given | {limit: None})))]


def trust_all() -> list[Patch]:
    make = aiohttp.TCPConnector
    return [(aiohttp, "TCPConnector", lambda **given: make(**(given | {"ssl": False})))]


def let_foreign_errors_out() -> list[Patch]:
    return [(transport, "translate", lambda error, _: error)]


_send = Transport.send


async def send_as_connection_trouble(self: Transport, *given: Any) -> Any:
    try:
        return await _send(self, *given)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - what is to be seen
        raise transport.translate(ConnectionError(error), 0) from None


def take_every_cancellation_for_the_callers() -> list[Patch]:
    own = SimpleNamespace(CancelledError=asyncio.CancelledError, current_task=lambda: None)
    return [(transport, "asyncio", own)]


def keep_going_on_broken_gzip() -> list[Patch]:
    inflate = replies.BodyReader._inflate

    def lenient(self: replies.BodyReader, piece: bytes) -> None:
        try:
            inflate(self, piece)
        except zlib.error:
            self._keep(b'{"total_calls": 1}')
            self._member = None

    return [(replies.BodyReader, "_inflate", lenient)]


def take_cut_gzip() -> list[Patch]:
    return [(replies.BodyReader, "finish", lambda _: b'{"total_calls": 1}')]


def take_any_encoding() -> list[Patch]:
    make = replies.BodyReader.__init__
    return [(replies.BodyReader, "__init__", lambda self, _, **limits: make(self, "", **limits))]


def take_any_size() -> list[Patch]:
    return [(replies.BodyReader, "_keep", lambda self, decoded: self._pieces.append(decoded))]


def read_json_leniently() -> list[Patch]:
    return [(decoding, "decode_kpis", lambda body, *_: json.loads(body))]


def raise_for_one_record() -> list[Patch]:
    decode = decoding.decode_records

    def strict(*given: Any, **more: Any) -> Any:
        for found in (made := decode(*given, **more)):
            if isinstance(found, RecordFailure):
                raise found.error
        return made

    return [(decoding, "decode_records", strict)]


def take_any_envelope() -> list[Patch]:
    def lenient(body: bytes, *_: object) -> Generator[None, None, ListBody]:
        raw = json.loads(body)
        records = [msgspec.Raw(json.dumps(record).encode()) for record in raw["results"] or ()]
        yield
        return ListBody(ListWire(raw["count"], records))

    return [(decoding, "decode_list_in_turns", lenient)]


def retry_without(clamp: str) -> list[Patch]:
    pause = retrying.retry_delay_seconds

    def other(error: FutureAGIError, *, policy: Any, seconds_left: float, **more: Any) -> float | None:
        if clamp == "deadline":
            seconds_left = math.inf
        if clamp == "max_retry_after":
            policy = attrs.evolve(policy, max_retry_after=10**12)
        return pause(error, policy=policy, seconds_left=seconds_left, **more)

    return [(requester, "retry_delay_seconds", other)]


def run_loosely() -> list[Patch]:
    """Let a stream's producers run on behind its back."""

    class Loose:
        cancel_scope = SimpleNamespace(cancel=lambda: None)

        async def __aenter__(self) -> "Loose":
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        def start_soon(self, function: Any, *given: Any) -> None:
            _kept.append(asyncio.create_task(function(*given)))

    names = {name: getattr(anyio, name) for name in dir(anyio) if not name.startswith("_")}
    return [(channel, "anyio", SimpleNamespace(**names | {"create_task_group": Loose}))]


_kept: list[asyncio.Task[Any]] = []


def read_each_page_once() -> list[Patch]:
    fetch = Session.fetch_calls
    return [(Session, "fetch_calls", lambda *given, **more: fetch(*given, **more | {"consistency": "fast"}))]


def close_without_waiting() -> list[Patch]:
    async def close(self: Requester) -> None:
        self._state = "closed"

    return [(Requester, "close", close)]


def retry_statuses(*statuses: int, but: frozenset[int] = frozenset()) -> Callable[[], list[Patch]]:
    value = replies.RETRYABLE_STATUSES - but | set(statuses)
    return lambda: [(replies, "RETRYABLE_STATUSES", value)]


def follow_the_redirect() -> list[Patch]:
    return [*get_with(allow_redirects=True), (RedirectError, "__init__", FutureAGIError.__init__)]
