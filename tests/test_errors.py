"""The error tree: who is whose kind, what an error says, and that it travels."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from futureagi_async import errors
from futureagi_async.errors import DecodingError, FilterIgnoredError, FutureAGIError
from futureagi_async.options import RetryPolicy, Timeouts

TREE = {
    "FutureAGIError": "Exception",
    "APIConnectionError": "FutureAGIError",
    "APITimeoutError": "APIConnectionError",
    "ResponseTooLargeError": "APIConnectionError",
    "TLSError": "APIConnectionError",
    "APIStatusError": "FutureAGIError",
    "RedirectError": "APIStatusError",
    "BadRequestError": "APIStatusError",
    "AuthenticationError": "APIStatusError",
    "PermissionDeniedError": "APIStatusError",
    "NotFoundError": "APIStatusError",
    "RateLimitError": "APIStatusError",
    "InternalServerError": "APIStatusError",
    "DecodingError": "FutureAGIError",
    "FilterIgnoredError": "FutureAGIError",
    "NameLookupError": "FutureAGIError",
    "SessionMisuseError": "FutureAGIError",
    "BudgetError": "FutureAGIError",
    "ExportError": "FutureAGIError",
    "SyncError": "FutureAGIError",
}
KINDS = [getattr(errors, name) for name in TREE]
MODEL_FIELDS: dict[str, Any] = {
    "method": "GET",
    "path": "/a/",
    "status": 429,
    "request_id": "req-7",
    "attempts": 3,
    "elapsed": 12.34,
    "retry_after": 9.0,
    "body": '{"message": "Slow down."}',
    "retryable": True,
}


def test_the_tree_is_whole() -> None:
    """The module defines the classes of the tree and no others, each under its parent."""
    found = {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert found == TREE


@pytest.mark.parametrize("name", TREE)
def test_the_drawing_shows_every_class(name: str) -> None:
    """The tree drawn in the module's docstring shows each class below its parent."""
    drawing = (errors.__doc__ or "").splitlines()
    lines = {word: line for line in drawing for word in line.split() if word in TREE}
    assert name in lines
    if name != "FutureAGIError":
        assert lines[name].index(name) > lines[TREE[name]].index(TREE[name])
        assert drawing.index(lines[name]) > drawing.index(lines[TREE[name]])


@pytest.mark.parametrize("kind", KINDS)
def test_facts_are_unknown_by_default(kind: type[FutureAGIError]) -> None:
    """An error of nothing but a message says just that; its facts are None."""
    error = kind("Slow down.")
    assert str(error) == error.message == "Slow down."
    assert (error.attempts, error.retryable) == (0, False)
    assert all(getattr(error, name) is None for name in set(MODEL_FIELDS) - {"attempts", "retryable"})


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "Slow down."),
        ({"method": "GET", "path": "/a/"}, "Slow down. (GET /a/)"),
        ({"status": 429}, "Slow down. (status 429)"),
        ({"attempts": 1, "elapsed": 2.0}, "Slow down."),
        ({"attempts": 2}, "Slow down. (2 attempts)"),
        ({"attempts": 2, "elapsed": 0.04}, "Slow down. (2 attempts in 0.0 s)"),
        ({"retry_after": 0.0}, "Slow down. (retry after 0 s)"),
        ({"retry_after": 1.5}, "Slow down. (retry after 1.5 s)"),
        ({"request_id": "req-7"}, "Slow down. (request id req-7)"),
        ({"body": "customers' data", "retryable": True}, "Slow down."),
        (
            MODEL_FIELDS,
            "Slow down. (GET /a/, status 429, 3 attempts in 12.3 s, retry after 9 s, request id req-7)",
        ),
    ],
)
def test_text_tells_the_facts(facts: dict[str, Any], text: str) -> None:
    """The text names what is known of the request, and never the body."""
    assert str(errors.RateLimitError("Slow down.", **facts)) == text


def test_about_fills_in_the_request() -> None:
    """An error learns which request failed, and is still itself."""
    error = errors.NotFoundError("Gone.", status=404)
    assert error.about("GET", "/a/", 2, 1.0) is error
    assert str(error) == "Gone. (GET /a/, status 404, 2 attempts in 1.0 s)"


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_errors_travel_with_their_facts(kind: type[FutureAGIError], way: str) -> None:
    """An error keeps its class, message, facts and notes when it is pickled or copied."""
    error = kind("Slow down.", **MODEL_FIELDS)
    error.add_note("while exporting")
    sent = WAYS[way](error)
    assert sent is not error
    assert type(sent) is kind
    assert vars(sent) == vars(error)
    assert {name: getattr(sent, name) for name in MODEL_FIELDS} == MODEL_FIELDS
    assert (str(sent), sent.args, sent.__notes__) == (str(error), error.args, ["while exporting"])


@pytest.mark.parametrize("way", WAYS)
def test_own_facts_travel_too(way: str) -> None:
    """The facts that only some classes have are kept as well."""
    decoding = WAYS[way](DecodingError.at("Wrong", endpoint="/e/", json_path="$.a", retryable=True))
    assert (decoding.endpoint, decoding.json_path, decoding.retryable) == ("/e/", "$.a", True)
    ignored = FilterIgnoredError("Skipped.")
    ignored.error_messages = ("a", "b")
    assert WAYS[way](ignored).error_messages == ("a", "b")
    garbled = errors.APIConnectionError("Not HTTP.")
    garbled.garbled = True
    assert WAYS[way](garbled).garbled


class OwnError(errors.ExportError):
    """A subclass with a constructor of its own, as users may write one."""

    def __init__(self, disk: str) -> None:
        super().__init__(f"{disk} is full.", status=507)
        self.disk = disk


@pytest.mark.parametrize("way", WAYS)
def test_subclasses_travel(way: str) -> None:
    """A subclass whose constructor takes other arguments can be sent too."""
    sent = WAYS[way](OwnError("/dev/sda"))
    assert type(sent) is OwnError
    assert (sent.disk, sent.status, str(sent)) == ("/dev/sda", 507, "/dev/sda is full. (status 507)")


def test_decoding_errors_name_the_place() -> None:
    """A decoding error says what is wrong, where in the answer, and of which endpoint."""
    error = DecodingError.at("Expected `str`, got `int`", endpoint="/e/{id}/", json_path="$.results[2].id")
    assert str(error) == "Expected `str`, got `int` at $.results[2].id of /e/{id}/"
    assert not error.retryable
    whole = DecodingError.at("Not valid JSON", endpoint="/e/")
    assert (whole.json_path, str(whole)) == ("$", "Not valid JSON at $ of /e/")
    assert (DecodingError("x").endpoint, DecodingError("x").json_path) == (None, None)


def test_wrong_arguments_are_not_ours() -> None:
    """No class is a ValueError or TypeError, which stand for wrong arguments alone."""
    assert not any(issubclass(kind, ValueError | TypeError | OSError) for kind in KINDS)


SECONDS = [
    (Timeouts, "connect"),
    (Timeouts, "read"),
    (Timeouts, "attempt"),
    (Timeouts, "deadline"),
    (RetryPolicy, "base_delay"),
    (RetryPolicy, "max_delay"),
    (RetryPolicy, "max_retry_after"),
]


@pytest.mark.parametrize(("kind", "name"), SECONDS)
@pytest.mark.parametrize("value", [0.001, 1, 3600.0])
def test_positive_seconds_are_taken(kind: Any, name: str, value: float) -> None:
    """A positive number of seconds is kept as given."""
    assert getattr(kind(**{name: value}), name) == value


@pytest.mark.parametrize(("kind", "name"), SECONDS)
@pytest.mark.parametrize("value", [0, -1, -0.5, math.inf, -math.inf, math.nan, 10**400])
def test_other_seconds_are_refused(kind: Any, name: str, value: float) -> None:
    """Zero, negative and endless waits are refused."""
    with pytest.raises(ValueError, match=f"{name} must be a positive number"):
        kind(**{name: value})


@pytest.mark.parametrize(("kind", "name"), SECONDS)
@pytest.mark.parametrize("value", ["5", None, True, [5]])
def test_seconds_are_numbers(kind: Any, name: str, value: Any) -> None:
    """Text, None and bools are no seconds."""
    with pytest.raises(TypeError, match=f"{name} must be a number of seconds"):
        kind(**{name: value})


@pytest.mark.parametrize(
    ("value", "kind"),
    [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError), ("4", TypeError)],
)
def test_attempts_are_counted_from_one(value: Any, kind: type[Exception]) -> None:
    """The number of tries is an int from 1, the first try included."""
    assert RetryPolicy(attempts=1).attempts == 1
    with pytest.raises(kind, match="attempts must be"):
        RetryPolicy(attempts=value)


def test_options_are_values() -> None:
    """Options compare by value, can be hashed, and refuse to be changed."""
    assert {Timeouts(), RetryPolicy()} == {Timeouts(), RetryPolicy()}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Timeouts().read = 5.0  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        RetryPolicy().attempts = 5  # type: ignore[misc]


def test_defaults_are_as_documented() -> None:
    """The documented defaults: one try within a minute, a call within two, four tries."""
    assert attrs.astuple(Timeouts()) == (10.0, 30.0, 60.0, 120.0)
    assert attrs.astuple(RetryPolicy()) == (4, 0.25, 20.0, 120.0)
