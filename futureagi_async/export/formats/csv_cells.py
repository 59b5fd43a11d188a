"""Cells of CSV: numbers that programs read as doubles, and texts that no spreadsheet takes for formulas."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

_DANGEROUS = re.compile(
    r"['\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]"
)  # the last four characters are full-width


class Bare:
    """A cell that the csv module takes for a number, so that it does not quote it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __float__(self) -> float:
        raise TypeError("Only its text is written.")

    def __str__(self) -> str:
        return self._text


NULL: Final = Bare("")
"""A cell without a value."""


def whole(number: int | str | None) -> Bare | None:
    """Return a cell for a column of whole numbers."""
    return None if number is None else Bare(str(number))


def double(number: float) -> Bare:
    """Return a cell for a column of doubles, with all digits and always with a decimal point.

    Some programs detect the type of a column from its first rows. Without the decimal point, they would take
    ``32`` for a whole number, and fail at ``25.6``.
    """
    digits, *power = str(number).split("e")
    return Bare("e".join([digits if "." in digits else f"{digits}.0", *power]))


def safe_text(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: if needed, with an apostrophe in front.

    A text that begins with an apostrophe gets another one, so removing one apostrophe restores every text.
    Source: OWASP, "CSV Injection".
    """
    return f"'{text}" if _DANGEROUS.match(text) else text


def original_text(cell: str) -> str:
    """Return the original text of a cell from `safe_text`."""
    return cell.removeprefix("'")


def cell(value: Any) -> Any:
    """Return a value for the csv module: numbers bare, everything else as safe text."""
    if value is None:
        return NULL
    if isinstance(value, Bare):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return double(value)
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return safe_text(msgspec.json.encode(value).decode())
