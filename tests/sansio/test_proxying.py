"""A proxy's address: what is sent where, and that its password is shown nowhere."""

import pickle
from base64 import b64decode

import pytest

from futureagi_async._sansio.settings import Origin, Proxy

HTTPS = Origin("https", "api.example", 443)
HTTP = Origin("http", "127.0.0.1", 80)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("https://proxy.example", "https://proxy.example"),
        ("http://someone:c4n4ry@proxy.example:3128/path?x=1", "http://proxy.example:3128"),
        ("http://someone@[::1]:3128", "http://[::1]:3128"),
    ],
)
def test_the_address_is_what_connections_need(given: str, shown: str) -> None:
    """Scheme, host and port; no more."""
    proxy = Proxy(given)
    assert proxy.url == shown
    assert repr(proxy) == f"Proxy({shown})"


def test_nothing_is_told_to_a_proxy_without_a_user() -> None:
    """No header at all."""
    assert Proxy("http://proxy.example").headers(HTTPS) == ({}, {})


@pytest.mark.parametrize(
    ("user", "pair"),
    [("a:b", "a:b"), ("a", "a:"), ("a:", "a:"), ("a%40b:c%3Ad%2F", "a@b:c:d/"), ("%C3%BC:%C3%9F", "ü:ß")],
)
def test_the_password_goes_to_the_proxy_alone(user: str, pair: str) -> None:
    """With the request for a tunnel; where there is none, with the request itself."""
    proxy = Proxy(f"http://{user}@proxy.example")
    for origin, place in ((HTTP, 0), (HTTPS, 1)):
        told = proxy.headers(origin)
        assert told[1 - place] == {}
        scheme, _, coded = told[place]["Proxy-Authorization"].partition(" ")
        assert (scheme, b64decode(coded).decode()) == ("Basic", pair)
        assert repr(told[place]) == "{'Proxy-Authorization': '***'}"


def test_the_password_is_in_no_pickle() -> None:
    """A proxy holds it for its session, and for nobody else."""
    with pytest.raises(TypeError):
        pickle.dumps(Proxy("http://someone:c4n4ry@proxy.example"))


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "proxy.example",
        "ftp://c4n4ry@x",
        "http://",
        "http://c4n4ry:c4n4ry@",
        "http://x:70000",
        "http://[x",
    ],
)
def test_what_is_no_address_is_refused(wrong: str) -> None:
    """Without quoting it."""
    with pytest.raises(ValueError, match="proxy must be a URL") as caught:
        Proxy(wrong)
    assert "c4n4ry" not in repr(caught.value)
