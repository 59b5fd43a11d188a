"""Words: how figures are addressed, without regard to case, blanks and punctuation, and numbers of things."""

import re
import unicodedata

_NO_WORD = re.compile(r"[\W_]+")


def slug(name: str) -> str:
    """Return a name as it stands in the address of a figure: ``Goal Reached!`` is ``goal_reached``."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return _NO_WORD.sub("_", folded).strip("_") or "_"


def counted(number: int, noun: str) -> str:
    """Return such as ``1 call`` or ``2,000 calls``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
