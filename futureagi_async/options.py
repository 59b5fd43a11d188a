"""How patient a session is, and how urgent: `Timeouts`, `RetryPolicy`, `Priority`."""

import sys
from typing import Literal, TypeAlias

import attrs

Priority: TypeAlias = Literal["interactive", "bulk"]
"""Who gets the next free slot of a session: an ``interactive`` request before all ``bulk`` ones."""


def _check_positive(_instance: object, attribute: "attrs.Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} must be a number of seconds, not {type(value).__name__}.")
    if not 0 < value <= sys.float_info.max:
        raise ValueError(f"{attribute.name} must be a positive number of seconds, not {value!r}.")


def _check_count(_instance: object, attribute: "attrs.Attribute[int]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{attribute.name} must be an int, not {type(value).__name__}.")
    if value < 1:
        raise ValueError(f"{attribute.name} must be at least 1, not {value}.")


@attrs.define(frozen=True)
class Timeouts:
    """Limits in seconds. Waiting for a free slot of the session counts towards none of them."""

    connect: float = attrs.field(default=10.0, validator=_check_positive)
    """To connect, TLS handshake included."""
    read: float = attrs.field(default=30.0, validator=_check_positive)
    """Between two pieces of an answer."""
    attempt: float = attrs.field(default=60.0, validator=_check_positive)
    """One try, with its whole body."""
    deadline: float = attrs.field(default=120.0, validator=_check_positive)
    """One call with all its tries and the pauses between them."""


@attrs.define(frozen=True)
class RetryPolicy:
    """How often, and how patiently, a failed request is sent again.

    The pause before the n-th retry is a random share of ``min(max_delay, base_delay * 2**(n-1))``
    (full jitter), so that many clients do not come back at the same moment. A ``Retry-After`` of the
    server takes its place, up to ``max_retry_after``.
    """

    attempts: int = attrs.field(default=4, validator=_check_count)
    """Tries in all, the first included; 1 never retries."""
    base_delay: float = attrs.field(default=0.25, validator=_check_positive)
    """Seconds."""
    max_delay: float = attrs.field(default=20.0, validator=_check_positive)
    """Seconds."""
    max_retry_after: float = attrs.field(default=120.0, validator=_check_positive)
    """Seconds; a server that asks for more is waited for this long."""
