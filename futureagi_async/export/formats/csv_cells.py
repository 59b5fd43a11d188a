"""Values as cells of a CSV file that people open in spreadsheets."""

import re
from datetime import datetime
from typing import Any, Final

import msgspec

from futureagi_async.export.formats.normalised import in_utc

_DANGEROUS = re.compile(r"['\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")  # the last four are full-width


class _Null:
    """A cell without a value: it counts as a number for the csv module, which therefore does not quote it."""

    def __float__(self) -> float:
        raise TypeError("An empty cell is no number.")

    def __str__(self) -> str:
        return ""


NULL: Final = _Null()


def safe_text(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula, by an apostrophe in front where needed.

    A text that begins with an apostrophe gets another one, so that taking one away gives every text back.
    Source: OWASP, "CSV Injection".
    """
    return f"'{text}" if _DANGEROUS.match(text) else text


def original_text(cell: str) -> str:
    """Return the text that `safe_text` made a cell of."""
    return cell.removeprefix("'")


def cell(value: Any) -> Any:
    """Return a value as the csv module writes it well: numbers bare, everything else as safe text."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, datetime):
        return in_utc(value).isoformat().replace("+00:00", "Z")
    return safe_text(msgspec.json.encode(value).decode())
