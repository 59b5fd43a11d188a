"""Small HTML tables for notebooks. All text is escaped, and tables are at most a screen long."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

MAX_ROWS: Final = 12
"""Maximum number of rows in a notebook."""
_MAX_CHARACTERS = 80


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """Return a table as HTML: text is clipped and escaped, ``note`` is below the table."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    below = f"<p>{escape(note)}</p>" if note else ""
    return (
        f"<div><p>{escape(caption)}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{below}</div>"
    )


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    if len(text) > _MAX_CHARACTERS:
        text = f"{text[:_MAX_CHARACTERS]}…"
    return f"<td>{escape(text)}</td>"
