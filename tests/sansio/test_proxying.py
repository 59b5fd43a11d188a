"""Proxies: which one the environment names, what is sent where, and that a password is shown nowhere."""

import pickle
from base64 import b64decode

import pytest

from futureagi_async._sansio.settings import Origin, Proxy, is_exempt, read_proxy

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


P, Q = "http://p.example:1", "http://q.example:2"
CHOSEN = [
    ({}, None, None),
    ({"HTTPS_PROXY": P}, P, None),
    ({"HTTP_PROXY": P}, None, P),
    ({"HTTP_PROXY": P, "HTTPS_PROXY": Q}, Q, P),
    ({"ALL_PROXY": P}, P, P),
    ({"all_proxy": P, "ALL_PROXY": Q}, P, P),
    ({"HTTPS_PROXY": P, "ALL_PROXY": Q}, P, Q),
    ({"https_proxy": P, "HTTPS_PROXY": Q}, P, None),
    ({"https_proxy": "", "HTTPS_PROXY": Q}, Q, None),
    ({"HTTPS_PROXY": " ", "ALL_PROXY": Q}, Q, Q),
    ({"HTTPS_PROXY": ""}, None, None),
    ({"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, None, None),
    ({"http_proxy": P, "REQUEST_METHOD": "GET"}, None, P),
    ({"HTTPS_PROXY": "p.example:1"}, P, None),
    ({"HTTPS_PROXY": "someone:c4n4ry@p.example:1"}, P, None),
    ({"HTTPS_PROXY": "p.example"}, "http://p.example", None),
    ({"HTTPS_PROXY": "[::1]:1"}, "http://[::1]:1", None),
    ({"HTTPS_PROXY": "https://p.example"}, "https://p.example", None),
    ({"HTTPS_PROXY": P, "NO_PROXY": "other.example"}, P, None),
    ({"HTTPS_PROXY": P, "NO_PROXY": "api.example"}, None, None),
    ({"HTTPS_PROXY": P, "no_proxy": "other.example", "NO_PROXY": "api.example"}, P, None),
    ({"HTTPS_PROXY": "socks5://p.example", "NO_PROXY": "*"}, None, None),
]


@pytest.mark.parametrize(("environ", "https", "http"), CHOSEN)
def test_the_environments_proxy(environ: dict[str, str], https: str | None, http: str | None) -> None:
    """By scheme, else for all; lower case first; empty is not set; without a scheme it is http."""
    for origin, expected in ((HTTPS, https), (HTTP, http)):
        proxy = read_proxy(origin, environ)
        assert (proxy and proxy.url) == expected


def origin(host: str, port: int = 443) -> Origin:
    return Origin("https", host, port)


EXEMPT = [
    ("api.example", "*", True),
    ("api.example", "api.example", True),
    ("api.example", "API.Example", True),
    ("api.example", "example", True),
    ("api.example", ".example", True),
    ("api.example", "*.example", True),
    ("api.example", "example.", True),
    ("api.example.", "api.example", True),
    ("api.example", "pi.example", False),
    ("api.example", "xapi.example", False),
    ("api.example", "v1.api.example", False),
    ("api.example", "a.example,  b.example\tapi.example,", True),
    ("api.example", "a.example b.example", False),
    ("api.example", "", False),
    ("api.example", ",. *. ..", False),
    ("api.example", "api.example:443", True),
    ("api.example", "api.example:8443", False),
    ("api.example", ".example:443", True),
    ("api.example", "api.example:", False),
    ("api.example", "10.0.0.0/8", False),
    ("10.1.2.3", "10.1.2.3", True),
    ("10.1.2.3", "10.1.2.3:443", True),
    ("10.1.2.3", "10.1.2.3:80", False),
    ("10.1.2.3", "10.0.0.0/8", True),
    ("10.1.2.3", "10.9.9.9/8", True),
    ("10.1.2.3", "10.0.0.0/8:443", True),
    ("10.1.2.3", "10.0.0.0/8:80", False),
    ("10.1.2.3", "11.0.0.0/8", False),
    ("10.1.2.3", "10.0.0.0/99", False),
    ("10.1.2.3", "2.3", False),
    ("10.1.2.3", "fd00::/8", False),
    ("fd00::1", "fd00::1", True),
    ("fd00::1", "[fd00::1]", True),
    ("fd00::1", "[fd00::1]:443", True),
    ("fd00::1", "[fd00::1]:80", False),
    ("fd00::1", "fd00::/8", True),
    ("fd00::1", "FD00:0::1", True),
    ("fd00::1", "10.0.0.0/8", False),
    ("fd00::1", "::1", False),
    ("localhost", "127.0.0.1", False),
]


@pytest.mark.parametrize(("host", "no_proxy", "expected"), EXEMPT)
def test_what_goes_without_a_proxy(host: str, no_proxy: str, expected: bool) -> None:
    """Domains with their hosts, addresses and networks, with ports; what is malformed exempts nothing."""
    assert is_exempt(origin(host), no_proxy) == expected


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "wrong", ["socks5://someone:c4n4ry@p.example", "someone:c4n4ry@p.example:70000", "http://"]
)
def test_a_variable_that_holds_no_proxy_is_named(variable: str, wrong: str) -> None:
    """As it is spelled, without its value, and no password in any variable of the traceback."""
    with pytest.raises(ValueError, match=f"^{variable} must be a URL") as caught:
        read_proxy(HTTPS, {variable: wrong, "FI_API_KEY": "c4n4ry"})
    frames = [entry.frame for entry in caught.traceback][1:]
    assert frames
    assert "c4n4ry" not in repr([caught.value, *(frame.f_locals for frame in frames)])
