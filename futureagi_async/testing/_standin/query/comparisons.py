"""Operators over numbers and words, with SQL's idea of what a missing value is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NumberTest = Callable[[float | None], bool]
TextTest = Callable[[str | None], bool]


def to_number(value: Any) -> float:
    """Convert as the server does, with the same complaint when it cannot be done."""
    return float(value)


def number_test(operator: str, value: Any) -> NumberTest | None:
    """Build the test for an operator on numbers; `None` for one the server silently ignores.

    A missing number passes only the negations, as in SQL's `NOT (x = 1 AND x IS NOT NULL)`.

    Raises:
        ValueError, TypeError: for a value that is no number.

    """
    if operator in {"between", "not_between", "not_in_between"}:
        low, high = map(to_number, value)
        return _inside(low, high) if operator == "between" else _negated(_inside(low, high))
    if operator in {"is_null", "is_not_null"}:
        return None
    wanted = to_number(value)
    tests: dict[str, NumberTest] = {
        "equals": lambda x: x == wanted,
        "not_equals": lambda x: x != wanted,
        "greater_than": lambda x: x is not None and x > wanted,
        "greater_than_or_equal": lambda x: x is not None and x >= wanted,
        "less_than": lambda x: x is not None and x < wanted,
        "less_than_or_equal": lambda x: x is not None and x <= wanted,
    }
    return tests.get(operator)


def text_test(operator: str, value: Any, *, exact_case: bool = False) -> TextTest | None:
    """Build the test for an operator on words; `None` for one the server silently ignores.

    `equals` takes a list or a comma-joined string as alternatives. Cases are ignored unless `exact_case`,
    which concerns equality only.
    """
    fold = (lambda text: text) if exact_case else str.casefold
    words = _words(value) if operator in {"equals", "not_equals", "in", "not_in"} else [str(value)]
    wanted = {fold(word) for word in words}
    part = str(value).casefold()

    def equal(text: str | None) -> bool:
        return text is not None and fold(text) in wanted

    def holds(text: str | None) -> bool:
        return text is not None and part in text.casefold()

    positive = {"equals": equal, "in": equal, "contains": holds}
    if operator in positive:
        return positive[operator]
    opposite = positive.get(operator.removeprefix("not_"))
    return None if opposite is None else _negated(opposite)


def _inside(low: float, high: float) -> NumberTest:
    return lambda x: x is not None and low <= x <= high


def _negated(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: not test(value)


def _words(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(word) for word in value]
    return [word.strip() for word in str(value).split(",")]
