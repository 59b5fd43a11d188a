"""The `search` parameter: which calls a text finds, on which list."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from futureagi_async.testing._standin.data.facts import facts_of
from futureagi_async.testing._standin.data.records import Call, CallFacts, Row, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable


def _like(pattern: str) -> re.Pattern[str]:
    """Compile SQL's `ILIKE '%pattern%'`: `%` and `_` are wildcards, a backslash takes them literally."""
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            parts.append(re.escape(next(characters, "")))
        else:
            parts.append({"%": ".*", "_": "."}.get(character) or re.escape(character))
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


def found_on_run_test(text: str) -> Callable[[Row], bool]:
    """Tell whether phone number or scenario name match, with SQL's wildcards."""
    pattern = _like(text.strip())

    def found(row: Row) -> bool:
        facts = facts_of(row.call if isinstance(row, Snapshot) else row)
        return any(pattern.search(value) for value in (facts.phone, facts.scenario.name) if value)

    return found


def found_on_execution(text: str) -> Callable[[Row], bool]:
    """Tell whether anything said or known about the call contains the text, except messages of chats."""
    plain, pattern = text.casefold(), _like(text)

    def found(row: Row) -> bool:
        if not isinstance(row, Call):
            return False
        facts = facts_of(row)
        known = [facts.phone, facts.scenario.name, facts.customer_number, facts.summary]
        spoken = [turn.text for turn in facts.turns] if row.kind == "voice" else []
        if any(plain in value.casefold() for value in [*known, *spoken] if value):
            return True
        return any(pattern.search(cell) for cell in _cells(facts))

    return found


def _cells(facts: CallFacts) -> list[str]:
    return [str(cell) for cell in (facts.cells or {}).values()]
