"""Status and error bodies read: the right class, the server's own words."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from futureagi_async import errors
from futureagi_async._sansio.replies import (
    DETERMINISTIC_500S,
    EXCERPT_CHARACTERS,
    BodyReader,
    Reply,
    check_reply,
    error_of,
    is_past_the_end,
    retry_after,
)
from futureagi_async.errors import APIConnectionError, DecodingError, ResponseTooLargeError

NOW = datetime(2026, 1, 8, 9, 0, tzinfo=UTC)
HTML = b"<!doctype html><html><body><h1>Not Found</h1></body></html>"


def envelope(message: str) -> bytes:
    """Build the error body of the served API, with one text under four keys."""
    return json.dumps(
        {
            "status": False,
            "type": "not_found",
            "code": "not_found",
            "detail": message,
            "message": message,
            "error": message,
            "result": message,
        }
    ).encode()


def error_for(status: int, body: bytes = b"", **headers: str) -> errors.APIStatusError:
    """Read an error answer; underscores in header names become hyphens."""
    return error_of(Reply(status, {name.replace("_", "-"): text for name, text in headers.items()}, body))


GATEWAYS = (502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 525, 527, 529, 530, 598, 599)
CLASSES = {
    204: (errors.APIStatusError, False),
    301: (errors.RedirectError, False),
    302: (errors.RedirectError, False),
    304: (errors.APIStatusError, False),
    308: (errors.RedirectError, False),
    400: (errors.BadRequestError, False),
    401: (errors.AuthenticationError, False),
    402: (errors.APIStatusError, False),
    403: (errors.PermissionDeniedError, False),
    404: (errors.NotFoundError, False),
    405: (errors.APIStatusError, False),
    406: (errors.APIStatusError, False),
    408: (errors.APIStatusError, True),
    414: (errors.APIStatusError, False),
    425: (errors.APIStatusError, True),
    429: (errors.RateLimitError, True),
    499: (errors.APIStatusError, False),
    500: (errors.InternalServerError, True),
    501: (errors.InternalServerError, False),
    502: (errors.InternalServerError, True),
    503: (errors.InternalServerError, True),
    504: (errors.InternalServerError, True),
    505: (errors.InternalServerError, False),
    511: (errors.InternalServerError, False),
    526: (errors.InternalServerError, False),
    528: (errors.InternalServerError, False),
    **dict.fromkeys(GATEWAYS, (errors.InternalServerError, True)),
}


@pytest.mark.parametrize("body", [b"", HTML, envelope("Something broke.")], ids=["empty", "html", "envelope"])
@pytest.mark.parametrize("status", CLASSES)
def test_status_decides_the_class(status: int, body: bytes) -> None:
    """Each status has its class and retryability, with any body, and is raised by the check."""
    kind, retryable = CLASSES[status]
    error = error_for(status, body, x_request_id="req-7")
    assert type(error) is kind
    assert (error.status, error.retryable, error.request_id) == (status, retryable, "req-7")
    with pytest.raises(kind):
        check_reply(Reply(status, {}, body))


def test_success_raises_nothing() -> None:
    """A 200 passes the check whatever its body, which is decoded elsewhere."""
    for body in (b"{}", b"", HTML):
        check_reply(Reply(200, {}, body))


LIMITER = {
    "status": False,
    "result": {"code": "RATE_LIMITED", "message": "Limit of 60 reached.", "retry_after": 9},
}
MESSAGES: list[tuple[Any, str]] = [
    ({"message": "M", "detail": "D", "error": "E", "result": "R"}, "M"),
    ({"message": None, "detail": "D", "error": "E", "result": "R"}, "D"),
    ({"message": "", "detail": ["D"], "error": "E", "result": "R"}, "E"),
    ({"detail": {}, "error": 5, "result": "R"}, "R"),
    (LIMITER, "Limit of 60 reached."),
]


@pytest.mark.parametrize(("body", "message"), MESSAGES)
def test_message_is_the_servers_own(body: Any, message: str) -> None:
    """The first text of the envelope is the message; the rate limiter hides it one level deeper."""
    assert error_for(429, json.dumps(body).encode()).message == message


DEEP = b'{"message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
NOT_OURS = [
    HTML,
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b'["message"]',
    b'"message"',
    b"17",
    b"{}",
    b'{"message": 5, "detail": null}',
    b'{"result": {"message": null}}',
    b'{"result": {"message": ""}}',
    b'{"message": "cut',
    DEEP,
]


@pytest.mark.parametrize("body", NOT_OURS, ids=range(len(NOT_OURS)))
def test_bodies_without_a_message(body: bytes) -> None:
    """A body that is not the API's own error gives a sentence with status and phrase, and an excerpt."""
    error = error_for(404, body)
    assert error.message == "The server answered 404 Not Found with a body that is not the API's own error."
    assert error.body is not None
    assert len(error.body) <= EXCERPT_CHARACTERS


def test_empty_body() -> None:
    """An empty answer says so; an unknown status is named by its number."""
    error = error_for(499)
    assert error.message == "The server answered 499 an unknown status with no body."
    assert error.body is None


@pytest.mark.parametrize("status", [status for status in GATEWAYS if status >= 509])
def test_a_gateways_own_status_is_named_as_such(status: int) -> None:
    """Statuses that no RFC knows say who sends them."""
    said = f"The server answered {status} (a gateway in front of the API) with no body."
    assert error_for(status).message == said


def test_not_modified_is_no_redirect() -> None:
    """A 304 leads nowhere: its error says what it is, and who has to mend it."""
    error = error_for(304)
    assert type(error) is errors.APIStatusError
    assert "304 Not Modified" in error.message
    assert "cache" in error.message
    assert "redirect" not in error.message


def test_huge_bodies_are_cut() -> None:
    """Message and excerpt are bounded, also where characters take several bytes."""
    error = error_for(500, envelope("ä" * 1_000_000))
    assert error.message == "ä" * EXCERPT_CHARACTERS
    assert error.body is not None
    assert len(error.body) <= EXCERPT_CHARACTERS


@given(body=st.binary(max_size=200), status=st.integers(201, 599))
@example(body=b'{"message": "\\ud800"}', status=500)
def test_any_answer_becomes_an_error(body: bytes, status: int) -> None:
    """Whatever arrives with an error status becomes one of our errors, with a message."""
    error = error_for(status, body)
    assert isinstance(error, errors.APIStatusError)
    assert error.message
    str(error).encode()


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "FI_API_KEY and FI_SECRET_KEY"), (403, "workspace"), (414, "fewer filter values")],
)
def test_hints(status: int, hint: str) -> None:
    """Where the remedy is known, the message ends with it."""
    error = error_for(status, envelope("No."))
    assert error.message.startswith("No. ")
    assert hint in error.message


def test_missing_execution_is_not_found() -> None:
    """The served API's 500 for an unknown test execution is a `NotFoundError`, not retried."""
    text = "Failed to retrieve test execution: No TestExecution matches the given query."
    error = error_for(500, envelope(text))
    assert type(error) is errors.NotFoundError
    assert (error.status, error.retryable) == (500, False)
    assert error.message == "Test execution not found."
    assert type(error_for(502, envelope(text))) is errors.InternalServerError


@pytest.mark.parametrize("part", DETERMINISTIC_500S)
def test_deterministic_500s_are_final(part: str) -> None:
    """A 500 that comes again however often one asks is not retried; the same text from a proxy is."""
    assert not error_for(500, envelope(f"Failed to retrieve: {part} x")).retryable
    assert error_for(503, envelope(f"Failed to retrieve: {part} x")).retryable


def test_grouping_error_names_the_way_out() -> None:
    """The 500 for grouping by a built-in column says what can be grouped by."""
    error = error_for(500, envelope("module 'django.db.models' has no attribute 'Cast'"))
    assert "scenario_<scenario id>_dataset_<column id>" in error.message


LOCATIONS = {
    "https://evil.example/path?api_key=SECRET#x": "https://evil.example",
    "https://user:SECRET@evil.example:8443/?x": "https://evil.example",
    "http://[2001:db8::1]/a?SECRET": "http://2001:db8::1",
    "//evil.example/a?SECRET": "evil.example",
    "/simulate/kpis/?search=SECRET": "another path of the same server",
    "": "another path of the same server",
    "http://[::1": "a malformed URL",
    "http://ex\u2100mple/": "a malformed URL",
}


@pytest.mark.parametrize("location", LOCATIONS)
def test_redirects_show_no_query(location: str) -> None:
    """A redirect names where it leads, without path, query, user or password, and survives nonsense."""
    error = error_for(302, location=location)
    assert error.message.startswith(
        f"The server redirects to {LOCATIONS[location]}. Redirects are not followed"
    )
    assert "SECRET" not in str(error)


def test_server_time() -> None:
    """The Date header is the server's clock; without one there is none."""
    assert Reply(200, {"date": "Thu, 08 Jan 2026 09:00:00 GMT"}, b"").server_time == NOW
    assert Reply(200, {}, b"").server_time is None
    assert Reply(200, {"date": "today"}, b"").server_time is None


def test_past_the_end_of_a_version_list() -> None:
    """Only the paginator's 404 means "no such page"; other 404s mean "no such list"."""
    assert is_past_the_end(error_for(404, envelope("Invalid page.")))
    assert not is_past_the_end(error_for(404, envelope("Agent version not found.")))
    assert not is_past_the_end(error_for(400, envelope("Invalid page.")))
    assert not is_past_the_end(ValueError("Invalid page."))


def test_repr_shows_no_body() -> None:
    """An answer's repr leaves its body out."""
    assert "personal" not in repr(Reply(200, {}, b"personal data"))


def test_retry_after_reaches_the_error() -> None:
    """The wait is a fact of the error, and stands in its text."""
    error = error_for(429, json.dumps(LIMITER).encode(), retry_after="9")
    assert error.retry_after == 9.0
    assert "retry after 9 s" in str(error)


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


def wait(text: str, date: str | None = format_datetime(NOW, usegmt=True)) -> float | None:
    """Read a Retry-After header, by the server's own clock."""
    headers = {"retry-after": text}
    return retry_after(Reply(429, headers if date is None else {**headers, "date": date}, b""))


SECONDS = {
    "0": 0.0,
    "5": 5.0,
    " 60 ": 60.0,
    "1.5": 1.5,
    "0.000001": 0.000001,
    "99999999999": 99999999999.0,
    "": None,
    "-3": None,
    "+3": None,
    "1e3": None,
    "inf": None,
    "nan": None,
    "0x10": None,
    "1.": None,
    ".5": None,
    "1_0": None,
    "5 seconds": None,
    "5, 6": None,
    "\u0663": None,
    "9" * 5000: None,
    "soon": None,
}


@pytest.mark.parametrize("text", SECONDS, ids=lambda text: text[:20] or "empty")
def test_retry_after_in_seconds(text: str) -> None:
    """Plain decimal seconds are read; signs, exponents, words and absurd lengths are not."""
    assert wait(text) == SECONDS[text]


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (NOW + timedelta(seconds=30), 30.0),
        (NOW, 0.0),
        (NOW - timedelta(days=400), 0.0),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 251_634_437_999.0),
    ],
)
def test_retry_after_as_a_date(moment: datetime, seconds: float) -> None:
    """A date counts from the answer's own Date header, whatever our clock shows; the past means now."""
    assert wait(format_datetime(moment, usegmt=True)) == seconds


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("Thu, 08 Jan 2026 09:00:30 GMT", None),
        ("Thu, 08 Jan 2026 09:00:30 GMT", "yesterday"),
        ("Thu, 08 Jan 2026 09:00:30 -0000", "Thu, 08 Jan 2026 09:00:00 GMT"),
        ("Thu, 08 Jan 2026 25:00:30 GMT", "Thu, 08 Jan 2026 09:00:00 GMT"),
        ("Fri, 31 Dec 99999 23:59:59 GMT", "Thu, 08 Jan 2026 09:00:00 GMT"),
        ("Thu, 01 Jan 1970 00:00:00 +99999999", "Thu, 08 Jan 2026 09:00:00 GMT"),
        ("2026-01-08T09:00:30Z", "Thu, 08 Jan 2026 09:00:00 GMT"),
    ],
)
def test_unusable_dates_are_left_out(text: str, date: str | None) -> None:
    """Without two dates with zones there is no time to wait, and no crash."""
    assert wait(text, date) is None


DATE_LIKE = st.text("0123456789 ,:+-.GMTJanThuDec", max_size=40)


@given(text=st.text(max_size=40) | DATE_LIKE, date=st.none() | DATE_LIKE)
def test_any_retry_after_gives_a_wait_or_none(text: str, date: str | None) -> None:
    """Whatever the headers hold, the wait is none or not negative, and reading them does not fail."""
    seconds = wait(text, date)
    assert seconds is None or seconds >= 0


@given(st.integers(0, 10**9))
def test_dates_and_seconds_agree(seconds: int) -> None:
    """The same wait comes out of both spellings."""
    as_date = wait(format_datetime(NOW + timedelta(seconds=seconds), usegmt=True))
    assert as_date == wait(str(seconds)) == seconds
