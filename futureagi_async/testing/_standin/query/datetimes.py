"""The datetime operators of `timestamp` and `created_at`, which look at the creation time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from futureagi_async.testing._standin.clock import DAY_US, microseconds

MomentTest = Callable[[int], bool]


class BadDatetimeError(ValueError):
    """A datetime the server reports in `error_messages`; the text is the whole message."""


def moment_test(operator: str, value: Any, column_id: str) -> MomentTest | None:
    """Build the test for an operator on microseconds; `None` for one the server silently ignores.

    `equals` means the whole UTC day. A datetime without offset is taken as UTC.

    Raises:
        BadDatetimeError: with the vendor's message.

    """
    if operator in {"between", "not_between", "not_in_between"}:
        low, high = (_range_end(end, column_id) for end in value)
        if operator == "between":
            return lambda us: low <= us <= high
        return lambda us: not low <= us <= high
    if operator not in {"equals", "greater_than", "greater_than_or_equal", "less_than", "less_than_or_equal"}:
        return None
    wanted = _single(value)
    day = wanted - wanted % DAY_US
    tests: dict[str, MomentTest] = {
        "equals": lambda us: day <= us < day + DAY_US,
        "greater_than": lambda us: us > wanted,
        "greater_than_or_equal": lambda us: us >= wanted,
        "less_than": lambda us: us < wanted,
        "less_than_or_equal": lambda us: us <= wanted,
    }
    return tests[operator]


def _single(value: Any) -> int:
    if not isinstance(value, str):
        reason = f"'{type(value).__name__}' object has no attribute 'replace'"
        raise BadDatetimeError(f"Invalid datetime format for timestamp filter: {reason}")
    try:
        return _parse(value)
    except ValueError:
        reason = f"Invalid isoformat string: {value!r}"
        raise BadDatetimeError(f"Invalid datetime format for timestamp filter: {reason}") from None


def _range_end(value: Any, column_id: str) -> int:
    try:
        return _parse(str(value))
    except ValueError:
        wanted = "It must be in YYYY-MM-DD HH:MM[:ss[.uuuuuu]][TZ] format."
        reason = f"['“{value}” value has an invalid format. {wanted}']"
        raise BadDatetimeError(f"Error applying filter for column {column_id}: {reason}") from None


def _parse(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return microseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
