"""Reading query parameters: validated or leniently as the vendor's views do it, and as the documents say."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.web.answers import Answer, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_LIMIT = 10
_LONGEST_NUMBER = 1000


class BadFieldError(ValueError):
    """A parameter that a validating view refuses, in its words."""

    def __init__(self, message: str, code: str = "invalid") -> None:
        super().__init__(message)
        self.code = code


class BadRequestError(ValueError):
    """A parameter the documents do not allow; the text says which and why."""


def read_fields(
    query: Mapping[str, str], readers: Mapping[str, Callable[[str], Any]]
) -> dict[str, Any] | Answer:
    """Read every parameter that a validating view knows, or answer 400 with all that is wrong."""
    read: dict[str, Any] = {}
    wrong: dict[str, BadFieldError] = {}
    for name, reader in readers.items():
        try:
            read[name] = reader(query.get(name, ""))
        except BadFieldError as error:
            wrong[name] = error
    wrong |= {name: BadFieldError("Unknown field.") for name in query if name not in readers}
    if not wrong:
        return read
    message = "; ".join(f"{name}: {error}" for name, error in wrong.items())
    details = {name: [str(error)] for name, error in wrong.items()}
    return refusal("served", 400, message, code=next(iter(wrong.values())).code, details=details)


def positive_field(text: str) -> int | None:
    """Read a validated whole number from 1, `None` where none was sent."""
    if not text:
        return None
    if len(text) > _LONGEST_NUMBER:
        raise BadFieldError("String value too large.", "max_string_length")
    try:
        number = int(re.sub(r"\.0*\s*$", "", text))
    except ValueError:
        raise BadFieldError("A valid integer is required.") from None
    if number < 1:
        raise BadFieldError("Ensure this value is greater than or equal to 1.", "min_value")
    return number


def text_field(text: str) -> str:
    """Read a validated text, without spaces around it."""
    return without_nul(text).strip()


def without_nul(text: str) -> str:
    """Refuse what the database could not store."""
    if "\x00" in text:
        raise BadFieldError("Null characters are not allowed.", "null_characters_not_allowed")
    return text


def list_field(text: str) -> list[Any]:
    """Read a validated JSON list."""
    if not text:
        return []
    try:
        value = json.loads(text)
    except ValueError:
        raise BadFieldError("Value must be valid JSON.") from None
    if not isinstance(value, list):
        raise BadFieldError("Value must be a list.")
    return value


def lenient_limit(text: str | None) -> int:
    """Whatever is not a positive number silently means the default."""
    try:
        limit = int(text or "")
    except ValueError:
        return DEFAULT_LIMIT
    return limit if limit > 0 else DEFAULT_LIMIT


def lenient_page(text: str | None, count: int, limit: int) -> int | None:
    """Read a page number as the framework does; `None` for a page that does not exist."""
    last = max(1, -(-count // limit))
    try:
        page = last if text == "last" else int(text or "1")
    except ValueError:
        return None
    return page if 1 <= page <= last else None


def documented_page(query: Mapping[str, str], default_limit: int) -> tuple[int, int]:
    """Read page and limit, or refuse what is no positive number as the documents would."""
    return _documented_number(query, "page", 1), _documented_number(query, "limit", default_limit)


def _documented_number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise BadRequestError(f"{name}: must be a positive integer.")
    return int(text)


def documented_list(query: Mapping[str, str], name: str) -> list[Any]:
    """Read a JSON array, or refuse anything else as the documents would."""
    text = query.get(name, "")
    try:
        value = json.loads(text) if text else []
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise BadRequestError(f"{name}: must be a JSON array.")
    return value
