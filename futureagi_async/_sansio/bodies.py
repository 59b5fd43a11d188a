"""Reads a body piece by piece, bounded by its decoded size, and notices when it was cut.

The HTTP client accepts a truncated gzip body silently, and would decode a small answer into
gigabytes; so the bytes are decoded here.
"""

import zlib

from futureagi_async.errors import APIConnectionError, DecodingError, ResponseTooLargeError

_GZIP_OR_ERROR = 31  # zlib's window bits for "expect a gzip header"
_STEP_BYTES = 1 << 18


class BodyReader:
    """Collects the pieces of one answer's body.

    `feed` and `finish` raise `ResponseTooLargeError` past ``max_bytes`` decoded bytes,
    `APIConnectionError` for a broken or cut gzip stream, and `DecodingError` at once for a
    ``Content-Encoding`` that was not asked for.
    """

    def __init__(self, encoding: str, *, max_bytes: int, endpoint: str) -> None:
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise DecodingError.at(f"Content-Encoding {encoding[:40]!r} was not asked for", endpoint=endpoint)
        self._member = zlib.decompressobj(_GZIP_OR_ERROR) if encoding.endswith("gzip") else None
        self._max_bytes = max_bytes
        self._size = 0
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """Take the next bytes off the wire."""
        if self._member is None:
            self._keep(piece)
            return
        try:
            self._inflate(piece)
        except zlib.error as error:
            raise APIConnectionError(f"The gzip body is broken: {error}.", retryable=True) from None

    def finish(self) -> bytes:
        """Return the whole decoded body, or raise when it was cut."""
        if self._member is not None and not self._member.eof:
            raise APIConnectionError("The gzip body was cut off.", retryable=True)
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

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
                f"The answer is larger than max_response_bytes ({self._max_bytes:,}). "
                "Ask for a smaller page, or raise the limit."
            )
        if decoded:
            self._pieces.append(decoded)
