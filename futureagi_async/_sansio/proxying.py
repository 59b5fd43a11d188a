"""A proxy's address, taken apart so that its password is shown nowhere."""

from base64 import b64encode
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from futureagi_async._sansio.settings import Masked, Origin


class Proxy:
    """Where requests go through, and what it wants to be told."""

    __slots__ = ("_authorization", "url")

    def __init__(self, url: str) -> None:
        self.url = ""
        self._authorization: Masked | None = None
        parts = _split(url)
        del url  # some tracebacks show a frame's variables
        if parts is None:
            raise ValueError("proxy must be a URL such as http://proxy.example:3128.")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self.url = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._authorization = Masked("Basic " + b64encode(pair.encode()).decode())

    def headers(self, origin: Origin) -> tuple[dict[str, str], dict[str, str]]:
        """Return the headers for requests to ``origin``, and those for the tunnel to it.

        Through a tunnel the server must not see the proxy's password; without one there is nobody
        else to tell it to the proxy.
        """
        if self._authorization is None:
            return {}, {}
        told: dict[str, str] = {"Proxy-Authorization": self._authorization}
        return ({}, told) if origin.scheme == "https" else (told, {})

    def __repr__(self) -> str:
        return f"Proxy({self.url})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A proxy's password can't be pickled; build the session anew where it is needed.")


def _split(url: str) -> SplitResult | None:
    """Return the parts of an address that can be used."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return None
    return parts if usable else None
