"""Sends one request by aiohttp. Returns a `Reply`, or raises one of our errors."""

import asyncio
import errno
import math
import os
import ssl
from typing import NoReturn, TypeAlias

import aiohttp
from yarl import URL

from futureagi_async._sansio.replies import BodyReader, Reply
from futureagi_async._sansio.requests import Request
from futureagi_async._sansio.settings import Keys, Origin, Proxy
from futureagi_async._version import __version__
from futureagi_async.errors import (
    APIConnectionError,
    APITimeoutError,
    FutureAGIError,
    ResponseTooLargeError,
    SessionMisuseError,
    TLSError,
)
from futureagi_async.options import Timeouts

Connector: TypeAlias = aiohttp.BaseConnector

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",  # pinned: aiohttp would announce whatever codecs happen to be installed
    "User-Agent": f"futureagi-async/{__version__}",
}

_LARGE_BODY_BYTES = 2**20
"""Joining the chunks of a larger body blocks the event loop as long as finding the records in it. So other
tasks run in between."""


class Transport:
    """A pool of connections to one origin. Open and close it in the same event loop."""

    def __init__(
        self,
        origin: Origin,
        keys: Keys,
        *,
        connections: int,
        max_response_bytes: int,
        proxy: Proxy | None,
        ssl_context: ssl.SSLContext | None,
        connector: Connector | None,
    ) -> None:
        self.origin = origin
        self._base = str(origin)
        self._keys = keys
        self._connections = connections
        self._max_response_bytes = max_response_bytes
        self._proxy = proxy
        self._ssl_context = ssl_context
        self._connector = connector
        self._client: aiohttp.ClientSession | None = None
        self._limits: tuple[Timeouts, float, aiohttp.ClientTimeout] | None = None

    async def open(self) -> None:
        """Create the pool. No connection is opened yet."""
        connector = self._connector or aiohttp.TCPConnector(
            limit=self._connections, ssl=self._ssl_context or True
        )
        self._client = aiohttp.ClientSession(
            connector=connector,
            connector_owner=self._connector is None,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers=_HEADERS,
        )
        # else it sends a GET again by itself where the connection was lost: uncounted, past any budget
        self._client._retry_connection = False  # noqa: SLF001

    async def close(self) -> None:
        """Close the pool and its connections."""
        if self._client is not None:
            await self._client.close()

    async def send(self, request: Request, timeouts: Timeouts, seconds: float) -> Reply:
        """Send once, within ``seconds``, and read the whole response."""
        client, proxy = self._client, self._proxy
        assert client is not None
        if client.closed:
            raise SessionMisuseError("The connector that you passed to the session is closed.")
        headers, for_tunnel = self._keys.headers(), None
        if proxy is not None:
            for_server, for_tunnel = proxy.headers(self.origin)
            headers |= for_server
        failure: FutureAGIError
        is_answered = False
        try:
            async with client.get(
                self._url(request),
                headers=headers,
                allow_redirects=False,
                proxy=proxy.url if proxy else None,
                proxy_headers=for_tunnel or None,
                timeout=self._timeout(timeouts, seconds),
            ) as response:
                is_answered = True
                body = await self._read(response, request)
                fields = {name.lower(): text for name, text in response.headers.items()}
                return Reply(response.status, self._keys.redact_values(fields), body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, EOFError) as error:
            failure = _advise(translate(error, seconds), error)
            if isinstance(failure, APIConnectionError):
                failure.lost = not is_answered and _is_loss(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = APIConnectionError("The connection was cancelled by a library.", retryable=True)
        # raised here, so that no traceback of the HTTP client, which knows the keys, hangs on it
        raise failure

    def _url(self, request: Request) -> URL:
        target = request.target
        if not target.startswith("/"):  # else host and port might go on in it
            _refuse_origin()
        return URL(f"{self._base}{target}", encoded=True)

    def _timeout(self, timeouts: Timeouts, seconds: float) -> aiohttp.ClientTimeout:
        """Return the limits for aiohttp; cached, because most requests have the same."""
        if self._limits is None or self._limits[0] is not timeouts or self._limits[1] != seconds:
            limits = aiohttp.ClientTimeout(
                total=seconds,
                sock_connect=timeouts.connect,
                sock_read=timeouts.read,
                ceil_threshold=math.inf,
            )
            self._limits = timeouts, seconds, limits
        return self._limits[2]

    async def _read(self, response: aiohttp.ClientResponse, request: Request) -> bytes:
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        reader = BodyReader(encoding, max_bytes=self._max_response_bytes, endpoint=request.endpoint)
        try:
            while piece := await response.content.readany():
                reader.feed(piece)
                piece = b""  # else seen in this frame where the next read is cancelled
            body = reader.finish()
        except ResponseTooLargeError:
            response.close()
            raise
        if len(body) > _LARGE_BODY_BYTES:
            await asyncio.sleep(0)
        return body


def _refuse_origin() -> NoReturn:
    raise APIConnectionError("The request's URL has another origin than base_url; nothing was sent.")


def translate(error: Exception, seconds: float) -> FutureAGIError:
    """Return our error for an error of aiohttp, without its text if that could contain a header."""
    match error:
        case ssl.SSLError() | aiohttp.ClientSSLError():
            return TLSError(f"The TLS connection can't be trusted: {_tls_reason(error)}.")
        case aiohttp.ConnectionTimeoutError():
            return APITimeoutError("Connecting took too long.", retryable=True)
        case TimeoutError():
            return APITimeoutError(f"No complete response within {seconds:.3g} s.", retryable=True)
        case aiohttp.ClientConnectorDNSError():
            return APIConnectionError(f"The host name {error.host} could not be resolved.", retryable=True)
        case aiohttp.ClientProxyConnectionError():
            why = f"{_address(error)} did not accept a connection ({_reason(error.os_error)})"
            return APIConnectionError(f"The proxy could not be used: {why}.", retryable=True)
        case aiohttp.ClientHttpProxyError():
            why = f"it answered {error.status}{_PROXY_HINTS.get(error.status, '')}"
            return APIConnectionError(f"The proxy could not be used: {why}.", retryable=True)
        case aiohttp.ClientConnectorError():
            why = _reason(error.os_error)
            return APIConnectionError(f"Could not connect to {_address(error)}: {why}.", retryable=True)
        case aiohttp.ClientPayloadError():
            return APIConnectionError("The response was cut off.", retryable=True)
        case aiohttp.ServerDisconnectedError():
            return APIConnectionError("The server closed the connection.", retryable=True)
        case aiohttp.ClientResponseError():
            garbled = APIConnectionError("The response is not HTTP.", retryable=True)
            garbled.garbled = True
            return garbled
        case aiohttp.InvalidURL():
            return APIConnectionError("The base URL can't be used.")
    return APIConnectionError(f"The connection failed ({type(error).__name__}).", retryable=True)


def _is_loss(error: Exception) -> bool:
    """Whether an existing connection was lost."""
    lost = isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError)
    return lost and not isinstance(error, aiohttp.ClientConnectorError)


_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
_PROXY_HINTS = {407: ", since it wants a user and a password: http://USER:PASSWORD@HOST:PORT"}


def _address(error: aiohttp.ClientConnectorError) -> str:
    return f"[{error.host}]:{error.port}" if ":" in error.host else f"{error.host}:{error.port}"


def _reason(error: OSError) -> str:
    """Return the system's text for an error, which asyncio replaces by its own."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__


def _advise(failure: FutureAGIError, error: Exception) -> FutureAGIError:
    """Add a hint if the server can't be reached, or is not trusted."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        advice = "To trust your own certificate authority, pass ssl_context=..."
    elif isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientProxyConnectionError):
        return failure
    elif isinstance(error, aiohttp.ConnectionTimeoutError) or (
        isinstance(error, aiohttp.ClientConnectorError) and error.errno not in _OUT_OF_FILES
    ):
        advice = "Check the network, base_url (FI_BASE_URL), and whether a proxy is needed (proxy=...)."
    else:
        return failure
    failure.message = f"{failure.message} {advice}"
    failure.args = (failure.message,)
    return failure


def _tls_reason(error: Exception) -> str:
    cause = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    return "the handshake failed"
