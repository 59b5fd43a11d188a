"""Files from URLs that a server named: the other client file that knows aiohttp. It knows no keys."""

import errno
import math
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, Self

import aiohttp
import anyio
import attrs
from anyio.to_thread import run_sync
from yarl import URL

from futureagi_async._http.clock import Clock, SystemClock
from futureagi_async._http.transport import translate
from futureagi_async._sansio.downloads import (
    MAX_REDIRECTS,
    BodyInfo,
    PartialFile,
    bad_url,
    read_head,
    redirect_target,
    request_headers,
    split_url,
)
from futureagi_async._sansio.retrying import OutageDetector
from futureagi_async._version import __version__
from futureagi_async.errors import APIConnectionError, APITimeoutError, FutureAGIError

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0  # between two pieces
_TIMEOUT = aiohttp.ClientTimeout(
    total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS, ceil_threshold=math.inf
)

_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS = 2.0
_WRITE_BYTES = 1024 * 1024  # handed to a thread at once


class _RefusedAddressError(PermissionError):
    """The address that a name stands for is none that may be connected to."""


@attrs.define(frozen=True)
class Download:
    """An answer whose body is about to be read."""

    head: BodyInfo
    _content: aiohttp.StreamReader

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        async for piece in self._content.iter_any():
            yield piece


class Sink(Protocol):
    """Where a body goes; all methods block, and are called in a thread."""

    def find_part(self) -> PartialFile | None:
        """Return what an earlier attempt left."""
        ...

    def begin(self, head: BodyInfo, /) -> None:
        """Make ready for a body: behind the part, or anew."""
        ...

    def write(self, data: bytes, /) -> None:
        """Append to the body."""
        ...

    def finish(self) -> None:
        """Take the body for whole, or raise `APIConnectionError`."""
        ...


class Downloader:
    """A pool of connections without keys, cookies, netrc and proxies; use it by ``async with``.

    ``may_connect`` is asked about every address just before a socket connects to it, whether a name was
    looked up for it or a URL spelled it out, so that no second look-up can lead elsewhere.
    """

    def __init__(
        self, *, may_connect: Callable[[str], bool], connections: int, clock: Clock | None = None
    ) -> None:
        self._may_connect = may_connect
        self._connections = connections
        self._clock = clock or SystemClock()
        self._outages: dict[str, OutageDetector] = defaultdict(OutageDetector)

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, socket_factory=self._make_socket),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"Accept": "*/*", "User-Agent": f"futureagi-async/{__version__}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def save(self, url: str, sink: Sink, *, host: str, max_seconds: float) -> None:
        """Download a file, by several attempts if need be, within so many seconds.

        Raises `APIConnectionError`; where many files of a host in a row failed, without asking it.
        """
        outage = self._outages[host]
        if outage.is_out:  # waiting for each of its files could take days
            raise APIConnectionError(
                f"Not asked for: {outage.failures} downloads from its host failed.", retryable=True
            )
        try:
            try:
                with anyio.fail_after(max_seconds):
                    await self._save_with_retries(url, sink)
            except TimeoutError:
                raise APITimeoutError(f"It took longer than {max_seconds:g} s.", retryable=True) from None
        except APIConnectionError as error:
            outage.failed(error)
            raise
        outage.succeeded()

    async def _save_with_retries(self, url: str, sink: Sink) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self.open(url, await run_sync(sink.find_part)) as download:
                    await run_sync(sink.begin, download.head)
                    await _copy(download, sink)
                await run_sync(sink.finish)
            except APIConnectionError as error:
                if not error.retryable or attempt == _ATTEMPTS:
                    raise
            else:
                return
            await self._clock.sleep(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * self._clock.jitter())

    @asynccontextmanager
    async def open(self, url: str, part: PartialFile | None) -> AsyncIterator[Download]:
        """Ask for a file, or for what follows a part of it; redirects are followed by hand, a few.

        Raises `FutureAGIError`, also while the body is read.
        """
        failure: FutureAGIError
        try:
            async with self._answer(url, part) as download:
                yield download
                return
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, _RefusedAddressError)
            failure = _refused() if refused else translate(error, _READ_SECONDS)
        except (aiohttp.InvalidURL, UnicodeError):
            failure = bad_url()
        except (aiohttp.ClientError, TimeoutError) as error:
            failure = translate(error, _READ_SECONDS)
        raise failure  # here, so that it does not drag the address along as its context

    @asynccontextmanager
    async def _answer(self, url: str, part: PartialFile | None) -> AsyncIterator[Download]:
        hops = 0
        while True:
            address = split_url(url)
            async with self._client.get(
                _parsed(url),
                headers=request_headers(part),
                allow_redirects=False,
                timeout=_TIMEOUT,
            ) as response:
                if (target := redirect_target(url, response.status, response.headers)) is None:
                    if head := read_head(response.status, response.headers, part, address.path):
                        yield Download(head, response.content)
                        return
                    part = None
                    continue
            url, hops = target, hops + 1
            if hops > MAX_REDIRECTS:
                raise APIConnectionError(f"The server redirects more than {MAX_REDIRECTS} times.")

    def _make_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self._may_connect(str(address[0])):
            raise _RefusedAddressError(errno.EACCES, "The address is not public")
        return socket.socket(family, kind, protocol)


async def _copy(download: Download, sink: Sink) -> None:
    """Hand the body on as it arrives; what arrived is handed on however it ends."""
    gathered = bytearray()
    try:
        async for piece in download.pieces():
            gathered += piece
            if len(gathered) >= _WRITE_BYTES:
                data = bytes(gathered)
                gathered.clear()
                await run_sync(sink.write, data)
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(sink.write, bytes(gathered))


def _parsed(url: str) -> URL:
    """Return the URL as it stands, since a signature may depend on every character."""
    try:
        return URL(url, encoded=url.isascii())
    except ValueError:
        raise bad_url() from None


def _refused() -> APIConnectionError:
    return APIConnectionError("The host's address is not public: private hosts have to be allowed.")
