"""Checks of what callers pass in: one clear error, before any request."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeVar, get_args

from futureagi_async._sansio.endpoints import MAX_PAGE_SIZE
from futureagi_async._sansio.proxying import Proxy
from futureagi_async._sansio.settings import Origin
from futureagi_async.sources import CallSource

T = TypeVar("T")


def check_at_least_one(name: str, value: object) -> None:
    """Raise `TypeError` or `ValueError` unless ``value`` is an int from 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}.")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}.")


def check_kind(name: str, value: object, kind: type[T]) -> T:
    """Return ``value`` if it is a ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}.")
    return value


def check_kind_or_none(name: str, value: object, kind: type[T]) -> T | None:
    """Return ``value`` if it is a ``kind`` or ``None``."""
    return None if value is None else check_kind(name, value, kind)


def check_observers(observers: Iterable[T]) -> tuple[T, ...]:
    """Return the observers as a tuple, or raise `TypeError`."""
    if not isinstance(observers, Iterable) or not all(map(callable, given := tuple(observers))):
        raise TypeError("observers must be a sequence of callables that take one event each.")
    return given


def check_page_size(page_size: int) -> int:
    """Return a usable page size."""
    check_at_least_one("page_size", page_size)
    if page_size > MAX_PAGE_SIZE:
        raise ValueError(f"page_size must be at most {MAX_PAGE_SIZE:,}, not {page_size}.")
    return page_size


def check_word(name: str, value: T, words: object) -> T:
    """Return one of the words of a ``Literal``, or raise `ValueError` naming them."""
    allowed = get_args(words)
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, not {value!r}.")
    return value


def check_deadline(seconds: float | None) -> float | None:
    """Return a usable number of seconds, or ``None``."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"deadline must be a number of seconds, not {type(seconds).__name__}.")
    if not seconds > 0:
        raise ValueError(f"deadline must be more than 0 seconds, not {seconds!r}.")
    return seconds


def choose_proxy(proxy: str | None, origin: Origin, *, trust_env: bool) -> Proxy | None:
    """Return the proxy to use: the one given, else, if trusted, the environment's."""
    if proxy is None and trust_env:
        from urllib.request import getproxies, proxy_bypass  # here, because few need it

        proxy = None if proxy_bypass(origin.host) else getproxies().get(origin.scheme)
    if proxy is None:
        return None
    if not isinstance(proxy, str):
        raise TypeError(f"proxy must be a str, not {type(proxy).__name__}.")
    try:
        return Proxy(proxy)
    finally:
        del proxy  # some tracebacks show a frame's variables


def check_sources(sources: Iterable[CallSource] | CallSource) -> tuple[CallSource, ...]:
    """Return the sources as a tuple, or raise `TypeError` naming what is none."""
    kinds = "RunTestCalls, AgentVersionCalls or TestExecutionCalls"
    if isinstance(sources, CallSource):
        return (sources,)
    if not isinstance(sources, Iterable):
        raise TypeError(f"sources must be a list of {kinds}, not {type(sources).__name__}.")
    given = tuple(sources)
    for source in given:
        if not isinstance(source, CallSource):
            raise TypeError(f"A source is {kinds}, not {type(source).__name__}.")
    return given


def check_changed_since(since: Mapping[CallSource, datetime] | None) -> dict[CallSource, float]:
    """Return the times as Unix seconds, or raise where one is none or names no zone."""
    if since is not None and not isinstance(since, Mapping):
        raise TypeError(f"changed_since must map sources to times, not {type(since).__name__}.")
    seconds: dict[CallSource, float] = {}
    for source, moment in (since or {}).items():
        check_sources([source])
        check_kind("A time of changed_since", moment, datetime)
        if moment.tzinfo is None:
            raise ValueError("A time of changed_since must name its zone: datetime(..., tzinfo=UTC).")
        seconds[source] = moment.timestamp()
    return seconds
