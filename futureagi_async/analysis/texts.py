"""Text and numbers for a page: short, without control characters; and the normalised names of figures."""

import re
import unicodedata
from typing import Final

_COMMANDS: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
"""Control characters, and characters that change the direction of writing."""
_SURROGATES: Final = re.compile("[\ud800-\udfff\ufffe\uffff]")  # no text that can be written
_REPLACEMENT: Final = "\ufffd"
_NO_WORD: Final = re.compile(r"[\W_]+")
_LONGEST_LABEL: Final = 120
_CHARACTER_PIXELS: Final = 7.2  # of fonts that are wider than usual
_MINUS: Final = "\N{MINUS SIGN}"
NONE: Final = "\N{EN DASH}"


def shown(text: str, limit: int) -> str:
    """Return a text without control characters. If it is cut, it says how much is missing."""
    over = len(text) - limit
    cut = text[:limit] if over > 0 else text
    clean = _SURROGATES.sub(_REPLACEMENT, _COMMANDS.sub(_REPLACEMENT, cut.replace("\r\n", "\n")))
    return f"{clean}… ({over:,} more characters)" if over > 0 else clean


def label(text: str | None, limit: int = _LONGEST_LABEL) -> str:
    """Return a name on one line, with at most ``limit`` characters."""
    words = " ".join(shown((text or "")[: 4 * limit], 4 * limit).split())
    return words if len(words) <= limit else words[: limit - 1] + "…"


def fitted(text: str, width: float) -> str:
    """Return a text cut to a width in pixels of a chart's font, by the average width of its characters.

    The chart library is not used for this, because it cuts in the middle of a character.
    """
    room = width / _CHARACTER_PIXELS
    taken = 0.0
    for place, character in enumerate(text):
        taken += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if taken > room:
            return text[: max(0, place - 1)] + "…"
    return text


def number(value: float | None, unit: str = "", *, signed: bool = False) -> str:
    """Return a number with three significant digits and its unit; a dash for ``None``."""
    if value is None:
        return NONE
    size = abs(value)
    if size >= 1e15:
        digits = f"{value:.2e}"
    else:
        digits = f"{value:,.{_decimals(size)}f}"
        digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    digits = ("+" if signed and value > 0 else "") + digits.replace("-", _MINUS)
    if unit == "$":
        return f"${digits}" if value >= 0 and not signed else f"{digits} $"
    return f"{digits}\u202f{unit}" if unit else digits


def _decimals(size: float) -> int:
    if size >= 100:
        return 0
    if size >= 10:
        return 1
    if size >= 0.1 or size == 0:
        return 2
    return 3 if size >= 0.01 else 4


def percent(share: float | None, *, signed: bool = False) -> str:
    """Return a share as a percentage; with ``signed``, a difference in percentage points."""
    if share is None:
        return NONE
    size = abs(100 * share)
    digits = f"{100 * share:{'+' if signed else ''}.{0 if size >= 9.95 or size == 0 else 1}f}"
    return f"{digits.replace('-', _MINUS)}\u202f{'points' if signed else '%'}"


def quantity(amount: int, noun: str) -> str:
    """Return an amount with its noun: ``1 call``, ``2,000 calls``."""
    return f"{amount:,} {noun if amount == 1 else noun + 's'}"


def slug(name: str) -> str:
    """Return the normalised name of a figure: ``Goal Reached!`` is ``goal_reached``."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return _NO_WORD.sub("_", folded).strip("_") or "_"
