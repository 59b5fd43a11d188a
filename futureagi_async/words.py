"""The documented values of status fields, and the warning about other values."""

import sys
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

_PACKAGE: Final = __name__.partition(".")[0]
_LONGEST_WORD: Final = 16  # what is longer may be a key that came with an address: it is not repeated


class CallStatus(StrEnum):
    """The documented values of a call's status. `CallExecution.status` can be any ``str``."""

    PENDING = "pending"
    QUEUED = "queued"
    ONGOING = "ongoing"
    COMPLETED = "completed"
    FAILED = "failed"
    ANALYZING = "analyzing"
    CANCELLED = "cancelled"


class ExecutionStatus(StrEnum):
    """The documented values of a test execution's status. `TestExecutionPage.status` can be any ``str``."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CANCELLING = "cancelling"
    EVALUATING = "evaluating"


def nearest(given: str, known: Iterable[str]) -> list[str]:
    """Return up to three of the known words that look like the given one, the nearest first."""
    by_folded = {word.casefold(): word for word in known}
    return [by_folded[found] for found in get_close_matches(given.casefold(), by_folded, n=3, cutoff=0.6)]


def warn_if_unknown(
    name: str,
    given: str,
    known: Iterable[str],
    *,
    matches_case: bool = True,
    effect: str = "it may find no call",
) -> None:
    """Warn the caller about a value that is not documented, since the read could silently find nothing.

    The value is sent anyway, because the server may have learned it since. The warning names the caller's
    line.
    """
    words = [str(word) for word in known]
    if given in words or (not matches_case and given.casefold() in words):
        return
    found = nearest(given, words)
    if given.casefold() in words:
        problem = f"{name} {given!r} is compared case-sensitively"
    else:
        shown = f" {given!r}" if found or (given.isalpha() and len(given) <= _LONGEST_WORD) else ""
        problem = f"{name}{shown} is not a documented value"
    meant = f"did you mean {found[0]!r}?" if found else f"the documented values are {', '.join(words)}."
    warnings.warn(f"{problem}, so {effect}: {meant}", UserWarning, stacklevel=_frames_of_package() + 1)


def _frames_of_package() -> int:
    """Count the innermost frames that belong to this package, or to code that attrs generated for it."""
    frame, depth = sys._getframe(1), 1  # noqa: SLF001 - before Python 3.12, warnings can't skip a package
    while frame.f_back is not None:
        frame = frame.f_back
        named = frame.f_globals.get("__name__", "").partition(".")[0]
        if named != _PACKAGE and not frame.f_code.co_filename.startswith("<attrs generated"):
            break
        depth += 1
    return depth
