"""Downloads files from URLs that a server sent. It uses aiohttp, as `transport` does, but has no keys."""

import errno
import math
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, Self, TypeVar

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
    is_public,
    read_head,
    redirect_target,
    request_headers,
    split_url,
)
from futureagi_async._sansio.retrying import OutageDetector
from futureagi_async._version import __version__
from futureagi_async.errors import APIConnectionError, APITimeoutError, FutureAGIError

_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS = 2.0
_WRITE_BYTES = 1024 * 1024  # handed to a thread at once
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0  # between two pieces
_TIMEOUT = aiohttp.ClientTimeout(
    total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS, ceil_threshold=math.inf
)


class _RefusedAddressError(PermissionError):
    """The host's address may not be connected to."""


@attrs.define(frozen=True)
class Download:
    """A response whose body is about to be read."""

    head: BodyInfo
    _content: aiohttp.StreamReader

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body in chunks, as it arrives."""
        async for piece in self._content.iter_any():
            yield piece


T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class DownloadFile(Protocol[T_co]):
    """The target of a download. Its methods may block, because they are called in threads."""

    def find_part(self) -> PartialFile | None:
        """Return the part from an earlier attempt, if it can be resumed."""
        ...

    def begin(self, head: BodyInfo) -> None:
        """Prepare for a body: after the part, or from the beginning."""
        ...

    def write(self, data: bytes) -> None:
        """Append to the body."""
        ...

    def finish(self) -> T_co:
        """Finish; raise `APIConnectionError` if bytes are missing."""
        ...


class Downloader:
    """A pool of connections without keys, cookies, netrc and proxies; use it by ``async with``.

    Args:
        may_connect: Asked about every address just before a socket connects to it, whether a name was
            looked up for it or a URL spelled it out, so that no second look-up can lead elsewhere.
        at_once: How many downloads run at a time.
        max_seconds: How long one file may take, with all its tries.
        clock: Time and chance, for tests.
    """

    def __init__(
        self,
        *,
        may_connect: Callable[[str], bool] = is_public,
        at_once: int = 4,
        max_seconds: float = 1800.0,
        clock: Clock | None = None,
    ) -> None:
        if at_once < 1:
            raise ValueError(f"at_once must be at least 1, not {at_once}.")
        if not max_seconds > 0:
            raise ValueError(f"max_seconds must be more than 0, not {max_seconds}.")
        self._may_connect = may_connect
        self._at_once = at_once
        self._max_seconds = max_seconds
        self._clock = clock or SystemClock()
        self._outages: dict[str, OutageDetector] = defaultdict(OutageDetector)
        """Outage detectors by host."""

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._at_once, socket_factory=self._make_socket),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"Accept": "*/*", "User-Agent": f"futureagi-async/{__version__}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run as many workers as concurrent downloads are allowed. The first error stops all."""
        failure: BaseException | None = None

        async def guarded() -> None:
            nonlocal failure
            try:
                await work()
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised again, outside of the group
                failure = failure or error
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for _ in range(self._at_once):
                tasks.start_soon(guarded)
        if failure is not None:
            raise failure

    async def download(self, url: str, file: DownloadFile[T]) -> T:
        """Download into ``file`` within the time limit, and return its result.

        A truncated download is resumed if possible. Raises `APIConnectionError`; for a host that is down,
        without a request.
        """
        outage = self._outages[split_url(url).hostname or ""]
        if outage.is_out:  # waiting for each of its files could take days
            text = f"Not requested: {outage.failures} downloads from its host failed."
            raise APIConnectionError(text, retryable=True)
        failure: APIConnectionError
        try:
            with anyio.fail_after(self._max_seconds):
                found = await self._download_with_retries(url, file)
        except TimeoutError:
            failure = APITimeoutError(f"It took longer than {self._max_seconds:g} s.", retryable=True)
        except APIConnectionError as error:
            failure = error
        else:
            outage.succeeded()
            return found
        outage.failed(failure)
        raise failure

    async def _download_with_retries(self, url: str, file: DownloadFile[T]) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._download_once(url, file)
            except APIConnectionError as error:
                if not error.retryable or attempt == _ATTEMPTS:
                    raise
            await self._clock.sleep(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * self._clock.jitter())
        raise AssertionError("the last attempt returns or raises")

    async def _download_once(self, url: str, file: DownloadFile[T]) -> T:
        async with self.open(url, await run_sync(file.find_part)) as download:
            await run_sync(file.begin, download.head)
            await _copy(download, file)
        return await run_sync(file.finish)

    @asynccontextmanager
    async def open(self, url: str, part: PartialFile | None) -> AsyncIterator[Download]:
        """Request a file, or the rest after a part. Follow a few redirects.

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


async def _copy(download: Download, file: DownloadFile[object]) -> None:
    """Write the body as it arrives. Everything that arrived is written, even after an error."""
    gathered = bytearray()
    try:
        async for piece in download.pieces():
            gathered += piece
            if len(gathered) >= _WRITE_BYTES:
                data = bytes(gathered)
                gathered.clear()
                await run_sync(file.write, data)
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(file.write, bytes(gathered))


def _parsed(url: str) -> URL:
    """Return the URL unchanged, because a signature may depend on every character."""
    try:
        return URL(url, encoded=url.isascii())
    except ValueError:
        raise bad_url() from None


def _refused() -> APIConnectionError:
    return APIConnectionError(
        "The host's address is not public. To allow such hosts, pass allow_private_hosts=True."
    )
