"""How figures are addressed: words and names without regard to case, blanks and punctuation."""

import re
import unicodedata

_NO_WORD = re.compile(r"[\W_]+")


def slug(name: str) -> str:
    """Return a name as it stands in the address of a figure: ``Goal Reached!`` is ``goal_reached``."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return _NO_WORD.sub("_", folded).strip("_") or "_"
