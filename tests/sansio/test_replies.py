"""Status and error bodies read: the right class, the server's own words."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from futureagi_async import errors
from futureagi_async._sansio.replies import (
    DETERMINISTIC_500S,
    EXCERPT_CHARACTERS,
    Reply,
    check_reply,
    error_of,
    is_past_the_end,
)

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
    "http://[::1": "a malformed address",
    "http://ex\u2100mple/": "a malformed address",
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
