"""Options of a session and of bulk reads, and the argument checks that several modules share."""

import re
import sys
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias, TypeVar, get_args
from uuid import UUID

import attrs

T = TypeVar("T")

MAX_PAGE_SIZE = 1_000_000  # far above any list; far below where the served API overflows

Priority: TypeAlias = Literal["interactive", "bulk"]
"""Which requests get the next free slot of a session: all ``interactive`` ones go before ``bulk`` ones."""

OnError: TypeAlias = Literal["raise", "collect"]
"""Whether a bulk read stops at its first error, or continues and reports the errors at the end."""

Consistency: TypeAlias = Literal["complete", "fast"]
"""Whether a bulk read continues until a list is provably covered, or reads each page once."""


def _check_seconds(_instance: object, attribute: "attrs.Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} must be a number of seconds, not {type(value).__name__}.")
    if not 0 < value <= sys.float_info.max:
        raise ValueError(f"{attribute.name} must be a positive number of seconds, not {value!r}.")


def _check_attempts(_instance: object, attribute: "attrs.Attribute[int]", value: object) -> None:
    check_count(attribute.name, value)


@attrs.define(frozen=True)
class Timeouts:
    """Limits of a request, in seconds. None of them includes the wait for a free slot of the session."""

    connect: float = attrs.field(default=10.0, validator=_check_seconds)
    """Maximum seconds for connecting, TLS handshake included."""
    read: float = attrs.field(default=30.0, validator=_check_seconds)
    """Maximum seconds between two received chunks of a response."""
    attempt: float = attrs.field(default=60.0, validator=_check_seconds)
    """Maximum seconds for one attempt, with the whole response body."""
    deadline: float = attrs.field(default=120.0, validator=_check_seconds)
    """Maximum seconds for one request with all its attempts and the pauses between them."""


@attrs.define(frozen=True)
class RetryPolicy:
    """How many times a failed request is sent again, and how long the session waits before each retry.

    The wait before retry ``n`` is a random value from 0 to ``min(max_delay, base_delay * 2**(n-1))`` ("full
    jitter"), so that many clients do not retry at the same moment. If the server sends ``Retry-After``, the
    session waits that long instead, but at most ``max_retry_after``.
    """

    attempts: int = attrs.field(default=4, validator=_check_attempts)
    """Maximum number of attempts, the first one included. With 1 there are no retries, except one if the
    connection was lost before a response began."""
    base_delay: float = attrs.field(default=0.25, validator=_check_seconds)
    """Seconds; the upper bound of the wait before the first retry. It doubles with each retry."""
    max_delay: float = attrs.field(default=20.0, validator=_check_seconds)
    """Seconds; no upper bound grows beyond this."""
    max_retry_after: float = attrs.field(default=120.0, validator=_check_seconds)
    """Seconds; the longest wait for a ``Retry-After``."""


def check_count(name: str, value: object, *, at_most: int | None = None) -> None:
    """Raise `TypeError` or `ValueError` unless ``value`` is an int from 1 to ``at_most``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}.")
    if at_most is not None and not 1 <= value <= at_most:
        raise ValueError(f"{name} must be from 1 to {at_most:,}, not {value}.")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}.")


def check_deadline(seconds: float | None) -> float | None:
    """Return a usable number of seconds, or ``None``."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"deadline must be a number of seconds, not {type(seconds).__name__}.")
    if not seconds > 0:
        raise ValueError(f"deadline must be more than 0 seconds, not {seconds!r}.")
    return seconds


def check_max_outage(seconds: float) -> float:
    """Return a usable number of seconds, 0 included."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"max_outage must be a number of seconds, not {type(seconds).__name__}.")
    if not seconds >= 0:
        raise ValueError(f"max_outage must be 0 seconds or more, not {seconds!r}.")
    return seconds


def check_wait_seconds(name: str, seconds: float, *, may_be_zero: bool = False) -> float:
    """Return a usable, finite number of seconds."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(seconds).__name__}.")
    if not (0 <= seconds < float("inf")) or (seconds == 0 and not may_be_zero):
        least = "0 seconds or more" if may_be_zero else "more than 0 seconds"
        raise ValueError(f"{name} must be {least}, not {seconds!r}.")
    return seconds


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


def check_word(name: str, value: T, words: object) -> T:
    """Return one of the words of a ``Literal``, or raise `ValueError` naming them."""
    allowed = get_args(words)
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, not {value!r}.")
    return value


_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UNSENDABLE: Final = re.compile("[\0\ud800-\udfff]")  # NUL and lone surrogates: the server answers 400 or 500


def canonical_uuid(value: object) -> str | None:
    """Return a UUID, or its 8-4-4-4-12 text in any case, as lower-case text; ``None`` for anything else."""
    if isinstance(value, UUID):
        return str(value)
    return value.lower() if isinstance(value, str) and _UUID.fullmatch(value) else None


def is_sendable(value: object) -> bool:
    """Whether a value is text that the server can look for: without NUL and lone surrogates."""
    return isinstance(value, str) and not _UNSENDABLE.search(value)


def brief(value: object) -> str:
    """Return the repr of a value, cut to 60 characters, for a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
