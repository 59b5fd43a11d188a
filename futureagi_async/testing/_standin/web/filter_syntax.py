"""The syntax of the `filters` parameter with its error messages, and the operators on values."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from futureagi_async.testing._standin.clock import DAY_US, microseconds

_TEXT = [
    "equals",
    "not_equals",
    "in",
    "not_in",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
    "is_null",
    "is_not_null",
]
_COMPARED = [
    "equals",
    "not_equals",
    "greater_than",
    "greater_than_or_equal",
    "less_than",
    "less_than_or_equal",
    "between",
]
_NUMBER = [*_COMPARED, "not_between", "is_null", "is_not_null"]
_CATEGORICAL = [operator for operator in _TEXT if operator not in {"starts_with", "ends_with"}]

SERVED_OPERATORS = {
    "text": _TEXT,
    "number": _NUMBER,
    "boolean": ["equals", "not_equals", "is_null", "is_not_null"],
    "datetime": _NUMBER,
    "categorical": _CATEGORICAL,
    "thumbs": _CATEGORICAL,
    "annotator": _CATEGORICAL,
    "array": _CATEGORICAL,
}

_DOCUMENTED_RANGE = [*_COMPARED, "not_in_between"]

DOCUMENTED_OPERATORS = {
    "text": ["equals", "not_equals", "contains", "not_contains", "in"],
    "number": _DOCUMENTED_RANGE,
    "datetime": _DOCUMENTED_RANGE,
    "boolean": ["equals", "not_equals"],
    "list": ["in", "contains", "not_contains", "equals", "not_equals"],
}

_ITEM_KEYS = {"column_id", "filter_config"}
_MORE_ITEM_KEYS = {"display_name", "source", "output_type"}
_CONFIG_KEYS = {"filter_type", "filter_op"}
_MORE_CONFIG_KEYS = {"filter_value", "col_type"}
_RANGES = {"between", "not_between", "not_in_between"}
_LISTS = {"in", "not_in"}
_VALUELESS = {"is_null", "is_not_null"}


class FilterRefusedError(ValueError):
    """The filters are not acceptable; the text is what the server says about it."""


@frozen
class Filter:
    """One accepted filter."""

    column_id: str
    type: str
    operator: str
    value: Any


def read_filters(text: str, operators: dict[str, list[str]]) -> list[Filter]:
    """Read the parameter; empty text, `null` and `[]` are no filters.

    Raises:
        FilterRefusedError: in the vendor's words, with the index of the refused item.

    """
    if not text:
        return []
    try:
        items = json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        raise FilterRefusedError("Filters must be valid JSON.") from None
    if items is None:
        return []
    if not isinstance(items, list):
        raise FilterRefusedError("Filters must be a list.")
    return [_read_item(index, item, operators) for index, item in enumerate(items)]


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _read_item(index: int, item: Any, operators: dict[str, list[str]]) -> Filter:
    try:
        _check_keys(item, "item", _ITEM_KEYS, _MORE_ITEM_KEYS, "Filter item must be an object.")
        config = item["filter_config"]
        _check_keys(config, "config", _CONFIG_KEYS, _MORE_CONFIG_KEYS, "Filter config must be an object.")
        _check_operator(config, operators)
    except FilterRefusedError as refusal:
        raise FilterRefusedError(f"{index}: {refusal}") from None
    return Filter(
        str(item["column_id"]), config["filter_type"], config["filter_op"], config.get("filter_value")
    )


def _check_keys(value: Any, what: str, needed: set[str], more: set[str], no_object: str) -> None:
    if not isinstance(value, dict):
        raise FilterRefusedError(no_object)
    for word, keys in (("Missing", needed - value.keys()), ("Unknown", value.keys() - needed - more)):
        if keys:
            raise FilterRefusedError(f"{word} filter {what} keys: {', '.join(sorted(keys))}")


def _check_operator(config: dict[str, Any], operators: dict[str, list[str]]) -> None:
    kind, operator, value = config["filter_type"], config["filter_op"], config.get("filter_value")
    if kind not in operators:
        raise FilterRefusedError(f"Unsupported filter_type '{kind}'.")
    if operator not in operators[kind]:
        raise FilterRefusedError(f"Unsupported filter_op '{operator}' for filter_type '{kind}'.")
    if operator in _RANGES and not (isinstance(value, list) and len(value) == 2):
        raise FilterRefusedError(f"'{operator}' requires a two-value filter_value list.")
    if operator in _LISTS and not (isinstance(value, list) and value):
        raise FilterRefusedError(f"'{operator}' requires a non-empty filter_value list.")
    if operator not in _VALUELESS and value is None:
        raise FilterRefusedError(f"'{operator}' requires filter_value.")


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
