"""What the `filters` parameter may look like, and the vendor's words for everything else."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

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
