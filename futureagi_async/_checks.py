"""Checks of what callers pass in: one clear error, before any request."""

from typing import get_args
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from futureagi_async._sansio.endpoints import check_page
from futureagi_async._sansio.settings import Origin
from futureagi_async.bulk import OnError


def check_at_least_one(name: str, value: object) -> None:
    """Raise `TypeError` or `ValueError` unless ``value`` is an int from 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}.")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}.")


def check_kind(name: str, value: object, kind: type) -> None:
    """Raise `TypeError` unless ``value`` is a ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}.")


def check_page_size(page_size: int) -> int:
    """Return a usable page size."""
    check_page(1, page_size)
    return page_size


def check_on_error(on_error: OnError) -> OnError:
    """Return ``"raise"`` or ``"collect"``."""
    if on_error not in get_args(OnError):
        raise ValueError(f"on_error must be 'raise' or 'collect', not {on_error!r}.")
    return on_error


def choose_proxy(proxy: str | None, origin: Origin, *, trust_env: bool) -> str | None:
    """Return the proxy to use: the one given, else, if trusted, the environment's."""
    if proxy is None and trust_env and not proxy_bypass(origin.host):
        proxy = getproxies().get(origin.scheme)
    if proxy is None:
        return None
    if not isinstance(proxy, str):
        raise TypeError(f"proxy must be a str, not {type(proxy).__name__}.")
    parts = urlsplit(proxy)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("proxy must be a URL such as http://proxy.example:3128.")
    return proxy
