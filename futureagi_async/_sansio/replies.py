"""Reads a response: its body within a limit, and its status and headers as an error or success."""

import json
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import attrs

from futureagi_async.errors import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    DecodingError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ResponseTooLargeError,
)

T = TypeVar("T")

_GZIP_OR_ERROR = 31  # zlib's window bits for "expect a gzip header"
_STEP_BYTES = 1 << 18


class BodyReader:
    """Collects the chunks of a response body.

    `feed` and `finish` raise `ResponseTooLargeError` for more than ``max_bytes`` decompressed bytes,
    `APIConnectionError` for a broken or truncated gzip stream, and `DecodingError` at once for a ``Content-
    Encoding`` that was not requested.
    """

    def __init__(self, encoding: str, *, max_bytes: int, endpoint: str) -> None:
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise DecodingError.at(f"Content-Encoding {encoding[:40]!r} was not asked for", endpoint=endpoint)
        self._member = zlib.decompressobj(_GZIP_OR_ERROR) if encoding.endswith("gzip") else None
        self._max_bytes = max_bytes
        self._size = 0
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """Add the next bytes of the connection."""
        if self._member is None:
            self._keep(piece)
            return
        try:
            self._inflate(piece)
        except zlib.error as error:
            raise APIConnectionError(f"The gzip body is broken: {error}.", retryable=True) from None

    def finish(self) -> bytes:
        """Return the whole body without a byte order mark. Raise if it is truncated."""
        if self._member is not None and not self._member.eof:
            raise APIConnectionError("The gzip body was cut off.", retryable=True)
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        return body.removeprefix(BOM_UTF8)  # some proxies add one, and RFC 8259 lets parsers refuse it

    def _inflate(self, piece: bytes) -> None:
        assert self._member is not None
        while piece:
            if self._member.eof:  # a gzip file may have several members
                self._member = zlib.decompressobj(_GZIP_OR_ERROR)
            self._keep(self._member.decompress(piece, _STEP_BYTES))
            piece = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def _keep(self, decoded: bytes) -> None:
        self._size += len(decoded)
        if self._size > self._max_bytes:
            raise ResponseTooLargeError(
                f"The response is larger than {self._max_bytes:,} bytes (max_response_bytes). "
                "Request smaller pages, or raise the limit."
            )
        if decoded:
            self._pieces.append(decoded)


EXCERPT_CHARACTERS = 2_000
GATEWAY_STATUSES = frozenset({502, 503, 504, 507, 509, *range(520, 526), 527, 529, 530, 598, 599})
"""Statuses that proxies and content delivery networks use for a server behind them.

520 to 530 are Cloudflare's, 598 and 599 those of older proxies. 526 (invalid certificate of the server), 501
and 511 (log in to the network) do not go away by retrying.
"""
RETRYABLE_STATUSES = GATEWAY_STATUSES | {408, 425, 429, 500}

DETERMINISTIC_500S = (
    "invalid literal for int()",
    "must not be negative",
    "bigint out of range",
    "has no attribute 'Cast'",
    "'agent_definition_used_name'",
    "invalid input syntax",
    "has no attribute 'startswith'",
    "does not exist",
    "NUL (0x00)",
)
"""Parts of messages of the served API's 500s that do not go away by retrying."""

_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
_HINTS = {
    401: "Check FI_API_KEY and FI_SECRET_KEY (Dashboard > Settings > API keys).",
    403: "The keys are valid, but not for this workspace.",
    414: "The URL is too long; send fewer filter values at a time.",
}
_NOT_MODIFIED = (
    "The server answered 304 Not Modified to an unconditional request. "
    "A cache in front of the API is broken; tell its operator, or bypass it with base_url."
)
_CLASSES: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}


@attrs.define(frozen=True)
class Reply:
    """A response. ``headers`` have lower-case names; ``body`` is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)

    @property
    def request_id(self) -> str | None:
        """The server's request id."""
        return self.headers.get("x-request-id")

    @property
    def server_time(self) -> datetime | None:
        """The ``Date`` header: the server's clock, in whole seconds."""
        return _http_date(self.headers.get("date"))


@attrs.define(frozen=True)
class Decoded(Generic[T]):
    """A decoded response, with times of the session's clock in seconds."""

    value: T
    reply: Reply
    sent_at: float
    received_at: float
    attempts: int


def check_reply(reply: Reply) -> None:
    """Raise the error for a response with a status other than 200."""
    if reply.status != HTTPStatus.OK:
        raise error_of(reply)


def error_of(reply: Reply) -> APIStatusError:
    """Return the exception for a response with a status other than 200."""
    message = _message_of(reply)
    kind = _CLASSES.get(reply.status, APIStatusError)
    retryable = reply.status in RETRYABLE_STATUSES
    if reply.status == HTTPStatus.NOT_MODIFIED:
        message = _NOT_MODIFIED
    elif 300 <= reply.status < 400:
        kind, message = RedirectError, _redirect_message(reply)
    elif reply.status >= 500:
        kind, retryable, message = _verdict_on_500(reply, message)
    hint = _HINTS.get(reply.status)
    return kind(
        f"{message.rstrip('.')}. {hint}" if hint else message,
        status=reply.status,
        request_id=reply.request_id,
        retry_after=retry_after(reply),
        body=reply.body[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "replace")[:EXCERPT_CHARACTERS] or None,
        retryable=retryable,
    )


def retry_after(reply: Reply) -> float | None:
    """Seconds that the server asked to wait: ``Retry-After`` as a number, or as a date of its own clock."""
    text = reply.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    moment = _http_date(text)
    now = reply.server_time
    if moment is None or now is None:
        return None
    return max(0.0, (moment - now).total_seconds())


def is_past_the_end(error: BaseException) -> bool:
    """Whether the error of a list means that the requested page does not exist."""
    return isinstance(error, NotFoundError) and error.message.startswith("Invalid page")


def _http_date(text: str | None) -> datetime | None:
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # here, because importing it takes longer than ours

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else None


def _message_of(reply: Reply) -> str:
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        return _plain_message(reply)
    if isinstance(body, dict):
        result = body.get("result")
        nested = result.get("message") if isinstance(result, dict) else None
        for text in (body.get("message"), body.get("detail"), body.get("error"), result, nested):
            if isinstance(text, str) and text:
                text = text[:EXCERPT_CHARACTERS]
                return text.encode("utf-8", "replace").decode()  # JSON may hold half a surrogate pair
    return _plain_message(reply)


def _plain_message(reply: Reply) -> str:
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        gateway = reply.status in GATEWAY_STATUSES
        phrase = "(a gateway in front of the API)" if gateway else "an unknown status"
    what = "no body" if not reply.body else "a body that is not the API's own error"
    return f"The server answered {reply.status} {phrase} with {what}."


def _redirect_message(reply: Reply) -> str:
    try:
        location = urlsplit(reply.headers.get("location", ""))
        host = location.hostname
    except ValueError:
        return "The server redirects to a malformed URL. Redirects are not followed; check base_url."
    where = f"{location.scheme}://{host}".removeprefix("://") if host else "another path of the same server"
    return f"The server redirects to {where}. Redirects are not followed; check base_url."


def _verdict_on_500(reply: Reply, message: str) -> tuple[type[APIStatusError], bool, str]:
    """Distinguish a missing test execution, a wrong parameter and a temporary failure."""
    if reply.status == 500 and "No TestExecution matches" in message:
        return NotFoundError, False, "Test execution not found."
    if reply.status == 500 and message.endswith("Invalid page."):  # past the end of some lists
        return NotFoundError, False, "Invalid page."
    if reply.status == 500 and any(part in message for part in DETERMINISTIC_500S):
        if "'Cast'" in message:
            message += (
                ". The served API can't group by built-in columns; group by a dataset column instead: "
                "scenario_<scenario id>_dataset_<column id>."
            )
        return InternalServerError, False, message
    return InternalServerError, reply.status in RETRYABLE_STATUSES, message
