"""The validated query of the served test-execution endpoint: the only one that refuses anything."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from attrs import frozen

from futureagi_async.testing._standin.web.answers import Answer, refusal
from futureagi_async.testing._standin.web.filter_syntax import (
    SERVED_OPERATORS,
    Filter,
    FilterRefusedError,
    read_filters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_NUMBER = 1000


@frozen
class Parameters:
    """The query, read. `limit` is `None` where none was sent, because the defaults differ by place."""

    page: int
    limit: int | None
    search: str
    filters: list[Filter]
    row_groups: list[object]


class _BadFieldError(ValueError):
    def __init__(self, message: str, code: str = "invalid") -> None:
        super().__init__(message)
        self.code = code


def read_parameters(query: Mapping[str, str]) -> Parameters | Answer:
    """Read the query, or answer 400 with every field that is wrong."""
    readers = {
        "search": _search,
        "filters": _filters,
        "row_groups": _json_list,
        "group_keys": _json_list,
        "page": _positive,
        "limit": _positive,
    }
    read: dict[str, object] = {}
    wrong: dict[str, _BadFieldError] = {}
    for name, reader in readers.items():
        try:
            read[name] = reader(query.get(name, ""))
        except _BadFieldError as error:
            wrong[name] = error
    wrong |= {name: _BadFieldError("Unknown field.") for name in query if name not in readers}
    return _refused(wrong) if wrong else _parameters(read)


def _parameters(read: Mapping[str, object]) -> Parameters:
    page, limit, filters, groups = (read[name] for name in ("page", "limit", "filters", "row_groups"))
    return Parameters(
        page=page if isinstance(page, int) else 1,
        limit=limit if isinstance(limit, int) else None,
        search=str(read["search"]),
        filters=filters if isinstance(filters, list) else [],
        row_groups=groups if isinstance(groups, list) else [],
    )


def _refused(wrong: Mapping[str, _BadFieldError]) -> Answer:
    message = "; ".join(f"{name}: {error}" for name, error in wrong.items())
    details = {name: [str(error)] for name, error in wrong.items()}
    return refusal("served", 400, message, code=next(iter(wrong.values())).code, details=details)


def _positive(text: str) -> int | None:
    if not text:
        return None
    if len(text) > _LONGEST_NUMBER:
        raise _BadFieldError("String value too large.", "max_string_length")
    try:
        number = int(re.sub(r"\.0*\s*$", "", text))
    except ValueError:
        raise _BadFieldError("A valid integer is required.") from None
    if number < 1:
        raise _BadFieldError("Ensure this value is greater than or equal to 1.", "min_value")
    return number


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise _BadFieldError("Null characters are not allowed.", "null_characters_not_allowed")
    return text


def _search(text: str) -> str:
    return _without_nul(text).strip()


def _filters(text: str) -> list[Filter]:
    try:
        return read_filters(_without_nul(text), SERVED_OPERATORS)
    except FilterRefusedError as error:
        raise _BadFieldError(str(error)) from None


def _json_list(text: str) -> list[object]:
    if not text:
        return []
    try:
        value = json.loads(text)
    except ValueError:
        raise _BadFieldError("Value must be valid JSON.") from None
    if not isinstance(value, list):
        raise _BadFieldError("Value must be a list.")
    return value
