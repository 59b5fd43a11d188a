"""Bodies read piece by piece: gzip in any cut, and what makes one be refused."""

import gzip
import tracemalloc
import zlib
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async._sansio.replies import BodyReader
from futureagi_async.errors import APIConnectionError, DecodingError, ResponseTooLargeError

ENDPOINT = "/simulate/call-executions/{call_execution_id}/"
TEXT = b'{"id": "1b9d6bcd", "transcript": [' + b'"hello", ' * 40 + b'"bye"]}'
PACKED = gzip.compress(TEXT, mtime=0)


def read(pieces: Iterable[bytes], encoding: str = "gzip", *, max_bytes: int = 1 << 20) -> bytes:
    """Read a body that arrives in these pieces."""
    reader = BodyReader(encoding, max_bytes=max_bytes, endpoint=ENDPOINT)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def in_steps(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into pieces of one size."""
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("encoding", ["", "identity"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_plain_bodies_are_joined(encoding: str, size: int) -> None:
    """A body without content encoding comes back as sent, however it was cut."""
    assert read(in_steps(TEXT, size), encoding) == TEXT


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_plain_body_may_be_empty(encoding: str) -> None:
    """An empty body without content encoding is read as nothing."""
    assert read([], encoding) == b""
    assert read([b"", b""], encoding) == b""


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
@pytest.mark.parametrize("size", [1, 2, 5, 10_000])
def test_gzip_bodies_are_decoded(encoding: str, size: int) -> None:
    """Both names of gzip are decoded, in pieces of any size."""
    assert read(in_steps(PACKED, size), encoding) == TEXT


@pytest.mark.parametrize("cut", range(len(PACKED) + 1))
def test_gzip_cut_in_two_anywhere(cut: int) -> None:
    """Where the wire cuts a gzip body in two does not matter."""
    assert read([PACKED[:cut], PACKED[cut:]]) == TEXT


@given(
    data=st.binary(max_size=2000), level=st.integers(0, 9), cuts=st.lists(st.integers(0, 3000), max_size=8)
)
def test_any_gzip_in_any_pieces(data: bytes, level: int, cuts: list[int]) -> None:
    """Whatever was compressed comes back, whatever the pieces."""
    packed = gzip.compress(data, level, mtime=0)
    edges = sorted({0, len(packed), *(min(cut, len(packed)) for cut in cuts)})
    pieces = [packed[start:end] for start, end in pairwise(edges)]
    assert read(pieces) == data


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_byte_order_mark_is_left_out(encoding: str, size: int) -> None:
    """Once, at the very beginning, in whatever pieces it arrives; elsewhere it is part of the body."""
    for body, expected in {
        b"\xef\xbb\xbf{}": b"{}",
        b"\xef\xbb\xbf": b"",
        b"\xef\xbb{}": b"\xef\xbb{}",
        b" \xef\xbb\xbf{}": b" \xef\xbb\xbf{}",
        b"\xef\xbb\xbf\xef\xbb\xbf{}": b"\xef\xbb\xbf{}",
    }.items():
        sent = gzip.compress(body) if encoding else body
        assert read(in_steps(sent, size), encoding) == expected


@pytest.mark.parametrize("size", [1, 3, len(PACKED), 10_000])
def test_several_gzip_members(size: int) -> None:
    """A gzip body of several members is all of them, an empty one included."""
    packed = PACKED + gzip.compress(b"", mtime=0) + gzip.compress(b"tail", mtime=0)
    assert read(in_steps(packed, size)) == TEXT + b"tail"


@pytest.mark.parametrize("length", range(len(PACKED)))
def test_truncated_gzip_is_an_error(length: int) -> None:
    """Every prefix of a gzip body, the empty one included, is told from the whole, and may be retried."""
    with pytest.raises(APIConnectionError, match="cut off") as caught:
        read([PACKED[:length]])
    assert caught.value.retryable


@pytest.mark.parametrize("length", range(1, len(PACKED)))
def test_truncated_second_member_is_an_error(length: int) -> None:
    """A second gzip member that is cut makes the body an error too."""
    with pytest.raises(APIConnectionError, match="cut off"):
        read([PACKED, PACKED[:length]])


BROKEN = {
    "wrong checksum": PACKED[:-8] + bytes([PACKED[-8] ^ 1]) + PACKED[-7:],
    "wrong length": PACKED[:-1] + b"\x7f",
    "flipped bits": PACKED[:20] + bytes(byte ^ 0xFF for byte in PACKED[20:40]) + PACKED[40:],
    "junk behind it": PACKED + b"junk behind it",
    "zeros behind it": PACKED + bytes(16),
    "not gzip": TEXT,
    "zlib": zlib.compress(TEXT),
}


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("case", BROKEN)
def test_broken_gzip_is_an_error(case: str, size: int) -> None:
    """A gzip body that is damaged, followed by junk, or none at all, may be retried."""
    with pytest.raises(APIConnectionError, match="broken") as caught:
        read(in_steps(BROKEN[case], size))
    assert caught.value.retryable
    assert not isinstance(caught.value, ResponseTooLargeError)


@given(position=st.integers(0, len(PACKED) - 1), bit=st.integers(0, 7))
def test_flipped_bits_never_pass(position: int, bit: int) -> None:
    """One flipped bit gives the original or an error of ours, never other text."""
    damaged = bytearray(PACKED)
    damaged[position] ^= 1 << bit
    try:
        assert read([bytes(damaged)]) == TEXT  # some header bits mean nothing
    except APIConnectionError as error:
        assert error.retryable  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    "encoding", ["br", "deflate", "zstd", "gzip, gzip", "gzip,identity", "foo", "x" * 500]
)
def test_encodings_not_asked_for(encoding: str) -> None:
    """A content encoding that was not asked for is refused before any byte, once and for all."""
    with pytest.raises(DecodingError, match="was not asked for") as caught:
        BodyReader(encoding, max_bytes=10, endpoint=ENDPOINT)
    assert caught.value.endpoint == ENDPOINT
    assert not caught.value.retryable
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_limit_counts_decoded_bytes(encoding: str, size: int) -> None:
    """A body of exactly the limit is read; one byte more is too large, and never retried."""
    sent = PACKED if encoding else TEXT
    assert read(in_steps(sent, size), encoding, max_bytes=len(TEXT)) == TEXT
    with pytest.raises(ResponseTooLargeError, match="max_response_bytes") as caught:
        read(in_steps(sent, size), encoding, max_bytes=len(TEXT) - 1)
    assert not caught.value.retryable


def test_limit_counts_all_members() -> None:
    """The limit holds for all gzip members together."""
    with pytest.raises(ResponseTooLargeError):
        read([PACKED, PACKED], max_bytes=2 * len(TEXT) - 1)


def test_bomb_is_stopped_early() -> None:
    """200 MB of zeros in 200 kB are refused with little more memory than the limit."""
    packer = zlib.compressobj(wbits=31)
    megabyte = bytes(1 << 20)
    bomb = b"".join(packer.compress(megabyte) for _ in range(200)) + packer.flush()
    assert len(bomb) < 250_000
    tracemalloc.start()
    try:
        with pytest.raises(ResponseTooLargeError, match="1,048,576"):
            read([bomb], max_bytes=1 << 20)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 << 20
