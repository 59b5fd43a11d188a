"""Keys, base URL and proxy: they are read, checked, and never shown."""

import re
from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

import attrs

DEFAULT_BASE_URL = "https://api.futureagi.com"
_KEY = re.compile(r"[\x21-\x7e]{1,512}")  # what an HTTP header can carry without surprises
_SHORTEST_REDACTED = 6  # shorter "keys" are no secrets, and part of ordinary words
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9][a-z0-9._-]*|[0-9a-f:.]*:[0-9a-f:.]*")  # other alphabets in their xn-- form
_PLAIN_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?")


class Secret(str):
    """A header value that containers and tracebacks print as ***."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Keys:
    """The key pair. It is never shown: not in repr, str, ``vars``, pickles or tracebacks."""

    __slots__ = ("_headers",)

    def __init__(self, api_key: str, secret_key: str) -> None:
        self._headers = {"X-Api-Key": Secret(api_key), "X-Secret-Key": Secret(secret_key)}

    def headers(self) -> dict[str, str]:
        """Return the two headers, for the innermost frame that sends them."""
        return dict(self._headers)

    def redact_values(self, fields: dict[str, str]) -> dict[str, str]:
        """Replace the keys in headers, for the rare server that repeats them."""
        text = "\n".join(fields.values())  # to search in 12 at once takes 0.6 µs, in each 3.4
        if self.redact(text) == text:
            return fields
        return {name: self.redact(value) or "" for name, value in fields.items()}

    def redact(self, text: str | None) -> str | None:
        """Replace the keys in a text, for a server that repeats them."""
        for key in self._headers.values():
            if text and len(key) >= _SHORTEST_REDACTED:
                text = text.replace(str(key), "***")
        return text

    def __repr__(self) -> str:
        return "Keys(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Keys can't be pickled; create a new session where you need one.")


@attrs.define(frozen=True)
class Origin:
    """The origin of all requests, which gets the keys."""

    scheme: str
    host: str
    port: int
    prefix: str = ""
    """Path before every endpoint, without a slash at the end."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.prefix}"


def read_keys(api_key: str | None, secret_key: str | None, environ: Mapping[str, str]) -> Keys:
    """Return the keys from the arguments, or from the environment, and check them."""
    api = _read_key(api_key, "api_key", "FI_API_KEY", environ)
    secret = _read_key(secret_key, "secret_key", "FI_SECRET_KEY", environ)
    del api_key, secret_key, environ  # some tracebacks show a frame's variables
    if isinstance(api, Exception):
        raise api
    if isinstance(secret, Exception):
        raise secret
    return Keys(api, secret)


def _read_key(value: object, name: str, variable: str, environ: Mapping[str, str]) -> str | Exception:
    """Return the key, or the error to raise if there is none."""
    if value is None:
        value = environ.get(variable)
        if not value:
            return ValueError(
                f"No {name}: pass {name}=... or set {variable}. "
                "Both keys are shown in the Future AGI dashboard under Settings."
            )
        name = variable
    if not isinstance(value, str):
        return TypeError(f"{name} must be a str, not {type(value).__name__}.")
    if not _KEY.fullmatch(value):
        return ValueError(
            f"{name} is empty, longer than 512 characters, or contains spaces or characters "
            "that can't be sent in a header. Copy it again from the dashboard."
        )
    return Secret(value)


def read_origin(base_url: str | None, environ: Mapping[str, str], *, allow_insecure: bool) -> Origin:
    """Return the base URL from the argument, or the environment, or the default, and check it."""
    name, url = "base_url", base_url
    if base_url is None:
        name, url = "FI_BASE_URL", environ.get("FI_BASE_URL") or DEFAULT_BASE_URL
    del environ  # it holds the keys, and some tracebacks show a frame's variables
    if not isinstance(url, str):
        raise TypeError(f"{name} must be a str, not {type(url).__name__}.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"{name} must be an http(s) URL such as {DEFAULT_BASE_URL}.") from None
    host = parts.hostname or ""
    is_clean = not any(c.isspace() or ord(c) < 32 for c in url) and _HOST.fullmatch(host) and port != 0
    if not is_clean or parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"{name} must be an http(s) URL such as {DEFAULT_BASE_URL}.")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError(f"{name} must not contain a user, password, query or fragment.")
    if not _PLAIN_PATH.fullmatch(parts.path):
        raise ValueError(f"The path of {name} may contain only letters, digits and . _ ~ -.")
    if parts.scheme == "http" and not allow_insecure and not is_loopback(host):
        raise ValueError(
            f"{name} is http://, which would expose the keys to the network. "
            "Use https://, or pass allow_insecure=True if that is what you want."
        )
    return Origin(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], parts.path.rstrip("/"))


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Proxy:
    """A proxy, with its credentials."""

    __slots__ = ("_authorization", "url")

    def __init__(self, url: str, name: str = "proxy") -> None:
        self.url = ""
        self._authorization: Secret | None = None
        parts = _split(url)
        del url  # some tracebacks show a frame's variables
        if parts is None:
            raise ValueError(f"{name} must be a URL such as http://proxy.example:3128.")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self.url = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._authorization = Secret("Basic " + b64encode(pair.encode()).decode())

    def headers(self, origin: Origin) -> tuple[dict[str, str], dict[str, str]]:
        """Return the headers for requests to ``origin``, and those for the tunnel to it.

        Through a tunnel, the server must not see the proxy's password. Without a tunnel, the request itself
        must carry it.
        """
        if self._authorization is None:
            return {}, {}
        told: dict[str, str] = {"Proxy-Authorization": self._authorization}
        return ({}, told) if origin.scheme == "https" else (told, {})

    def __repr__(self) -> str:
        return f"Proxy({self.url})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A proxy's password can't be pickled; create a new session where you need one.")


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL that can be used."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return None
    return parts if usable else None


def read_proxy(origin: Origin, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy of the environment for an origin, if there is one, by the rules of curl.

    ``HTTPS_PROXY`` or ``HTTP_PROXY``, else ``ALL_PROXY``, unless ``NO_PROXY`` exempts the host; names in
    lower case take precedence. Raises `ValueError` with the name of the variable if its URL can't be used.
    """
    exempt = _variable(environ, "no_proxy")
    found = _variable(environ, f"{origin.scheme}_proxy") or _variable(environ, "all_proxy")
    del environ  # it holds the keys, and some tracebacks show a frame's variables
    if found is None or (exempt is not None and is_exempt(origin, exempt[1])):
        return None
    name, address = found
    try:
        return Proxy(address if "://" in address else f"http://{address}", name)
    finally:
        del found, address


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str] | None:
    """Return the name of the variable that is set, and its value. An empty value counts as not set."""
    names = [name, name.upper()]
    if name == "http_proxy" and "REQUEST_METHOD" in environ:
        names.pop()  # a CGI script is given the client's own header "Proxy" as HTTP_PROXY
    found = ((each, environ.get(each, "").strip()) for each in names)
    return next((pair for pair in found if pair[1]), None)


def is_exempt(origin: Origin, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` has an origin: ``*``, a domain, an address or a network, optionally with a port.

    A domain also covers its subdomains, with or without a leading dot.
    """
    return any(_exempts(entry.lower(), origin) for entry in re.split(r"[\s,]+", no_proxy) if entry)


def _exempts(entry: str, origin: Origin) -> bool:
    if entry == "*":
        return True
    host, port = _split_port(entry)
    if port is not None and port != origin.port:
        return False
    try:
        address = ip_address(origin.host)
    except ValueError:
        domain = host.removeprefix("*").strip(".")
        name = origin.host.rstrip(".")
        return bool(domain) and (name == domain or name.endswith(f".{domain}"))
    try:
        return address in ip_network(host, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, int | None]:
    """Split ``host:port`` or ``[host]:port``. Without a port, IPv6 addresses may have no brackets."""
    if found := re.fullmatch(r"\[(.*)\](?::([0-9]{1,5}))?|([^:]*):([0-9]{1,5})", entry):
        port = found[2] or found[4]
        return found[1] or found[3] or "", int(port) if port else None
    return entry, None
