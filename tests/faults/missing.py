"""Ways to do without a defence: what to put in its place, for the length of a test."""

import asyncio
import json
import math
import zlib
from collections.abc import Callable
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
    def lenient(body: bytes, *_: object) -> ListBody:
        raw = json.loads(body)
        records = [msgspec.Raw(json.dumps(record).encode()) for record in raw["results"] or ()]
        return ListBody(ListWire(raw["count"], records))

    return [(decoding, "decode_list", lenient)]


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
