"""Recordings: which URLs may be downloaded, how a download is resumed, and where redirects lead."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urljoin, urlsplit

import attrs

from futureagi_async._sansio.replies import RETRYABLE_STATUSES
from futureagi_async.errors import APIConnectionError, ResponseTooLargeError

_UNICAST = IPv6Network("2000::/3")  # all that is assigned for the internet
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits


def is_public(address: str) -> bool:
    """Return whether an IP address is public.

    Loopback, private, link-local, shared, reserved, multicast and unspecified addresses are not public, also
    inside IPv6 (mapped, 6to4, NAT64). Text that is not an address is not public either.
    """
    try:
        plain = _unwrapped(ip_address(address))
    except ValueError:
        return False
    if not plain.is_global or plain.is_multicast or plain.is_reserved:
        return False
    return isinstance(plain, IPv4Address) or plain in _UNICAST


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


MAX_REDIRECTS = 5

_VISIBLE = re.compile(r"[^\x00-\x20\x7f-\xa0]+")
_REDIRECTS = {301, 302, 303, 307, 308}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_SIZE = re.compile(r"\d{1,18}")
_MEDIA = re.compile(r"(audio|video)/.*|(application|binary)/(octet-stream|ogg|mp4|force-download)|")
_ENDINGS = {
    "audio/mpeg": ".mp3",
    "audio/mp3": ".mp3",
    "audio/wav": ".wav",
    "audio/wave": ".wav",
    "audio/x-wav": ".wav",
    "audio/vnd.wave": ".wav",
    "audio/ogg": ".ogg",
    "application/ogg": ".ogg",
    "audio/opus": ".opus",
    "audio/mp4": ".m4a",
    "audio/x-m4a": ".m4a",
    "audio/aac": ".aac",
    "audio/flac": ".flac",
    "audio/x-flac": ".flac",
    "audio/webm": ".webm",
    "video/webm": ".webm",
    "video/mp4": ".mp4",
}
_KNOWN_ENDINGS = frozenset(_ENDINGS.values())


@attrs.define(frozen=True)
class PartialFile:
    """The first part of a file, from an earlier attempt."""

    size: int
    """Size in bytes."""
    validator: str
    """The strong entity tag of the file when the part was sent."""


@attrs.define(frozen=True)
class BodyInfo:
    """What a response says about its body."""

    start: int
    """Position of the body in the file: 0, or the size of the part that is resumed."""
    size: int | None
    """Size of the whole file in bytes, if the server sent it."""
    validator: str | None
    """The strong entity tag of the file; without it, a download can't be resumed."""
    ending: str
    """Extension for the file's name, such as ``.mp3``."""


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL that may be downloaded, else raise `APIConnectionError`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its message repeats the URL
        raise bad_url() from None
    if not usable or not _VISIBLE.fullmatch(url):
        raise bad_url()
    if parts.username is not None or parts.password is not None:
        raise APIConnectionError("The recording's URL contains a user name or password.")
    return parts


def bad_url() -> APIConnectionError:
    """Return the error for a URL that no request can be made of."""
    return APIConnectionError("The recording's URL does not begin with http:// or https://.")


def request_headers(part: PartialFile | None) -> dict[str, str]:
    """Return the headers for a whole file, or for the rest after a part if the file is unchanged."""
    plain = {"Accept-Encoding": "identity"}
    return plain | ({"Range": f"bytes={part.size}-", "If-Range": part.validator} if part else {})


def redirect_target(url: str, status: int, headers: Mapping[str, str]) -> str | None:
    """Return the target of a redirect; ``None`` if the response is not a redirect."""
    if status not in _REDIRECTS:
        return None
    try:
        target = urljoin(url, headers.get("Location") or "")
    except ValueError:
        target = ""
    if not headers.get("Location"):
        raise APIConnectionError("The server redirects without a target URL.")
    if split_url(target).scheme == "http" and urlsplit(url).scheme == "https":
        raise APIConnectionError("The server redirects from https:// to http://.")
    return target


def read_head(
    status: int, headers: Mapping[str, str], part: PartialFile | None, path: str
) -> BodyInfo | None:
    """Return what the response says about its body; ``None`` if the whole file must be requested again.

    Raises `APIConnectionError` if the response is not an audio file.
    """
    if part is not None and (status == 416 or (status == 206 and not _goes_on(headers, part))):
        return None
    if status not in ((200, 206) if part else (200,)):
        raise APIConnectionError(f"The server answered {status}.", retryable=status in RETRYABLE_STATUSES)
    if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise APIConnectionError("The server sent compressed data, which was not requested.")
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not _MEDIA.fullmatch(kind):
        raise APIConnectionError("The response is not audio.")
    start = part.size if part and status == 206 else 0
    tag = headers.get("ETag", "")
    validator = part.validator if part and start else tag if tag.startswith('"') else None
    return BodyInfo(start, _whole_size(status, headers), validator, _ending(kind, path))


def check_size(size: int, limit: int) -> None:
    """Raise `ResponseTooLargeError` if a file would have more bytes than the limit."""
    if size > limit:
        raise ResponseTooLargeError(f"It is larger than {limit:,} bytes.")


def _goes_on(headers: Mapping[str, str], part: PartialFile) -> bool:
    found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    same = headers.get("ETag", part.validator) == part.validator
    return same and found is not None and int(found[1]) == part.size


def _whole_size(status: int, headers: Mapping[str, str]) -> int | None:
    if status == 206:
        found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
        text = found[2] if found else ""
    else:
        text = headers.get("Content-Length", "").strip()
    return int(text) if _SIZE.fullmatch(text) else None


def _ending(kind: str, path: str) -> str:
    suffix = path[path.rfind(".") :].lower() if "." in path else ""
    return _ENDINGS.get(kind) or (suffix if suffix in _KNOWN_ENDINGS else ".audio")
