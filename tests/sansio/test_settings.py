"""The keys: what is accepted, and that they are shown nowhere."""

import copy
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async._sansio.settings import (
    Keys,
    read_keys,
    read_origin,
)

API, SECRET = "api-canary-4711", "secret-canary-0815"
ENVIRON = {"FI_API_KEY": API, "FI_SECRET_KEY": SECRET, "FI_BASE_URL": "https://eu.example/fi"}


def test_keys_come_from_arguments_first() -> None:
    """An argument wins over its variable, each key for itself."""
    assert read_keys("a", "b", ENVIRON).headers() == {"X-Api-Key": "a", "X-Secret-Key": "b"}
    assert read_keys(None, "b", ENVIRON).headers() == {"X-Api-Key": API, "X-Secret-Key": "b"}
    assert read_keys("a", None, ENVIRON).headers() == {"X-Api-Key": "a", "X-Secret-Key": SECRET}
    assert read_keys(None, None, ENVIRON).headers() == {"X-Api-Key": API, "X-Secret-Key": SECRET}


@pytest.mark.parametrize(("missing", "name"), [("FI_API_KEY", "api_key"), ("FI_SECRET_KEY", "secret_key")])
@pytest.mark.parametrize("left", [{}, {"FI_API_KEY": "", "FI_SECRET_KEY": ""}], ids=["absent", "empty"])
def test_missing_key_names_its_variable(missing: str, name: str, left: dict[str, str]) -> None:
    """Without a key the message names the argument and the variable."""
    environ = {**ENVIRON, missing: left.get(missing, "")} if left else {**ENVIRON}
    if not left:
        del environ[missing]
    with pytest.raises(ValueError, match=f"No {name}: pass {name}=... or set {missing}"):
        read_keys(None, None, environ)


BAD_KEYS = {
    "empty": "",
    "blank": " ",
    "leading blank": " canary",
    "trailing newline": "canary\n",
    "inner blank": "can ary",
    "tab": "can\tary",
    "carriage return": "canary\r\nX-Evil: 1",
    "NUL": "can\0ary",
    "DEL": "canary\x7f",
    "umlaut": "canäry",
    "fullwidth": "canary\uff59",
    "surrogate": "canary\ud800",
    "513 characters": "canary" + "x" * 507,
}


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("case", BAD_KEYS)
def test_malformed_keys_are_not_echoed(case: str, position: int) -> None:
    """A key that no header can carry is refused, by its name, without a piece of it."""
    keys = ["good", "good"]
    keys[position] = BAD_KEYS[case]
    name = ("api_key", "secret_key")[position]
    with pytest.raises(ValueError, match=rf"^{name} is empty, longer than 512") as caught:
        read_keys(keys[0], keys[1], {})
    assert "ary" not in str(caught.value).replace("secret", "")


def test_malformed_variable_is_named() -> None:
    """A bad key of the environment is blamed on its variable."""
    with pytest.raises(ValueError, match=r"^FI_SECRET_KEY is empty"):
        read_keys(None, None, {**ENVIRON, "FI_SECRET_KEY": "a b"})


@pytest.mark.parametrize("key", [b"canary", 5, True, ["canary"]])
def test_keys_are_text(key: Any) -> None:
    """A key that is no str is a TypeError that tells its type only."""
    with pytest.raises(TypeError, match=f"api_key must be a str, not {type(key).__name__}"):
        read_keys(key, "good", {})


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=512))
def test_every_visible_ascii_key_is_sent_as_is(key: str) -> None:
    """Whatever a header carries without surprises is sent unchanged."""
    assert read_keys(key, key, {}).headers() == {"X-Api-Key": key, "X-Secret-Key": key}


def variables_of(fail: Callable[[], object]) -> list[traceback.FrameSummary]:
    """Return the frames of a failure below the caller's own, with their variables."""
    with pytest.raises((ValueError, TypeError)) as caught:
        fail()
    stack = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    return list(stack)[2:]


def in_a_traceback(fail: Callable[[], object]) -> str:
    """Return all that a failure's traceback shows of our frames."""
    frames = variables_of(fail)
    assert frames
    return "".join([*traceback.format_list(frames), *(f"{frame.locals}" for frame in frames)])


def raise_with(keys: Keys) -> None:
    """Fail in a frame that holds keys and headers."""
    headers = keys.headers()
    raise ValueError(f"{keys} {len(headers)}")


SHOWN: dict[str, Callable[[], str]] = {
    "repr": lambda: repr(Keys(API, SECRET)),
    "str": lambda: str(Keys(API, SECRET)),
    "format": lambda: f"{Keys(API, SECRET)} {Keys(API, SECRET)!r} {Keys(API, SECRET)!s}",
    "percent": lambda: "%s %r" % (Keys(API, SECRET), Keys(API, SECRET)),  # noqa: UP031 - one more way
    "headers": lambda: repr(Keys(API, SECRET).headers()),
    "copied headers": lambda: repr({**Keys(API, SECRET).headers(), "Accept": "*/*"}),
    "bad secret": lambda: in_a_traceback(lambda: read_keys(API, SECRET + " ", {})),
    "bad api key": lambda: in_a_traceback(lambda: read_keys(API + "\n", SECRET, {})),
    "bytes": lambda: in_a_traceback(lambda: read_keys(API.encode(), SECRET, {})),  # type: ignore[arg-type]
    "missing secret": lambda: in_a_traceback(lambda: read_keys(API, None, {"OTHER": SECRET})),
    "bad variable": lambda: in_a_traceback(
        lambda: read_keys(None, None, {**ENVIRON, "FI_API_KEY": API + " "})
    ),
    "bad URL": lambda: in_a_traceback(lambda: read_origin("ftp://x", ENVIRON, allow_insecure=False)),
    "insecure URL": lambda: in_a_traceback(lambda: read_origin("http://x", ENVIRON, allow_insecure=False)),
    "a frame with headers": lambda: in_a_traceback(lambda: raise_with(Keys(API, SECRET))),
}


@pytest.mark.parametrize("way", SHOWN)
def test_keys_are_shown_nowhere(way: str) -> None:
    """No repr, str, format, header dict or traceback with variables shows a key."""
    shown = SHOWN[way]()
    assert shown
    assert API not in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    "take", [pickle.dumps, copy.copy, copy.deepcopy, vars], ids=lambda take: take.__name__
)
def test_keys_cannot_be_taken_out(take: Callable[[Keys], object]) -> None:
    """Keys can't be pickled or copied, and have no dict to look into."""
    with pytest.raises(TypeError) as caught:
        take(Keys(API, SECRET))
    assert "canary" not in str(caught.value)


def test_mask_blanks_out_both_keys() -> None:
    """Where a server repeats the keys, they are blanked out everywhere."""
    keys = Keys(API, SECRET)
    assert keys.redact(f"{API} and {SECRET} and {API}") == "*** and *** and ***"
    assert keys.redact("nothing") == "nothing"
    assert keys.redact("") == ""
    assert keys.redact(None) is None
