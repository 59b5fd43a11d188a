"""The base URL: where requests, and with them the keys, may go."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async._sansio.settings import DEFAULT_BASE_URL, Origin, is_loopback, read_origin

ENVIRON = {"FI_BASE_URL": "https://eu.example/fi"}


def origin(url: str | None, *, allow_insecure: bool = False, environ: dict[str, str] | None = None) -> Origin:
    """Read a base URL."""
    return read_origin(url, environ or {}, allow_insecure=allow_insecure)


def test_where_the_base_url_comes_from() -> None:
    """The argument wins over FI_BASE_URL, which wins over the vendor's address."""
    assert str(origin(None)) == DEFAULT_BASE_URL == "https://api.futureagi.com"
    assert str(origin(None, environ={"FI_BASE_URL": ""})) == DEFAULT_BASE_URL
    assert str(origin(None, environ=ENVIRON)) == "https://eu.example/fi"
    assert str(origin("https://b.example", environ=ENVIRON)) == "https://b.example"


GOOD_URLS = {
    "https://api.example": Origin("https", "api.example", 443),
    "https://api.example/": Origin("https", "api.example", 443),
    "HTTPS://API.Example": Origin("https", "api.example", 443),
    "https://api.example:8443": Origin("https", "api.example", 8443),
    "https://api.example:443": Origin("https", "api.example", 443),
    "https://api.example:": Origin("https", "api.example", 443),
    "https://api.example/fi/v1/": Origin("https", "api.example", 443, "/fi/v1"),
    "https://my_service-1.internal/a.b~c": Origin("https", "my_service-1.internal", 443, "/a.b~c"),
    "https://xn--bcher-kva.example": Origin("https", "xn--bcher-kva.example", 443),
    "https://[2001:db8::1]:8443": Origin("https", "2001:db8::1", 8443),
    "https://192.0.2.1": Origin("https", "192.0.2.1", 443),
    "http://localhost": Origin("http", "localhost", 80),
    "http://LOCALHOST:8000": Origin("http", "localhost", 8000),
    "http://127.0.0.1:8000/fi": Origin("http", "127.0.0.1", 8000, "/fi"),
    "http://127.8.9.10": Origin("http", "127.8.9.10", 80),
    "http://[::1]:8000": Origin("http", "::1", 8000),
}


@pytest.mark.parametrize("url", GOOD_URLS)
def test_good_base_urls(url: str) -> None:
    """A good base URL is split, and reads the same when it is put together again."""
    found = origin(url)
    assert found == GOOD_URLS[url]
    assert origin(str(found)) == found


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "api.example",
        "//api.example",
        "/simulate",
        "ftp://api.example",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https:api.example",
        " https://api.example",
        "https://api.example ",
        "https://api.example\n",
        "https://api\t.example",
        "https://api.example\r\nX-Evil: 1",
        "https://api.example\0",
        "https://api\x1b.example",
        "https://api.example:0",
        "https://api.example:99999",
        "https://api.example:port",
        "https://[::1",
        "https://[api.example]",
        "https://[fe80::1%25eth0]",
        "https://evil.example\\.api.example",
        "https://<api>.example",
        "https://b\u00fccher.example",
        "https://api\u2100.example",
        "https://-api.example",
        "https://.",
        "https://user@api.example",
        "https://user:password@api.example",
        "https://:password@api.example",
        "https://api.example?a=1",
        "https://api.example/#part",
        "https://api.example/fi?x",
        "https://api.example/..",
        "https://api.example/a/../b",
        "https://api.example/./b",
        "https://api.example//b",
        "https://api.example/%2e%2e",
        "https://api.example/\u00fc",
        "https://api.example/a;b",
        "https://api.example/{id}",
    ],
)
def test_bad_base_urls(url: str) -> None:
    """What is no plain http(s) URL of one server is refused, without a password in the message."""
    with pytest.raises(ValueError, match="base_url") as caught:
        origin(url, allow_insecure=True)
    assert "password@" not in str(caught.value)
    assert not isinstance(caught.value, UnicodeError)


@pytest.mark.parametrize("url", [b"https://api.example", 5, True, ["https://api.example"]])
def test_base_url_is_text(url: Any) -> None:
    """A base URL of another type is a TypeError."""
    with pytest.raises(TypeError, match="base_url must be a str"):
        origin(url)


REMOTE_URLS = [
    "http://api.example",
    "http://localhost.example",
    "http://127.0.0.1.example",
    "http://0.0.0.0",
    "http://10.0.0.1",
    "http://128.0.0.1",
    "http://[2001:db8::1]",
    "http://[::ffff:192.0.2.1]",
    "http://127.1",
]


@pytest.mark.parametrize("url", REMOTE_URLS)
def test_http_to_other_machines_is_refused(url: str) -> None:
    """Plain http to any machine but this one is refused unless it is asked for."""
    with pytest.raises(ValueError, match="allow_insecure=True"):
        origin(url)
    assert origin(url, allow_insecure=True).scheme == "http"


@given(st.text(max_size=40) | st.text("htps:/[]@.%?#\\1a ", max_size=30).map("https://".__add__))
def test_any_base_url_is_read_or_refused(url: str) -> None:
    """Whatever is given, the answer is a clean origin or a ValueError."""
    try:
        found = origin(url)
    except ValueError:
        return
    assert origin(str(found)) == found
    assert str(found).isascii()
    assert found.scheme == "https" or is_loopback(found.host)
