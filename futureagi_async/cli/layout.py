"""Pieces that the views are made of. Text of the server is cleaned, and never read as markup."""

from collections.abc import Mapping

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from futureagi_async.cli.text import one_line

_STATUS_STYLES = {"completed": "green", "failed": "red", "cancelled": "red"}


def heading(title: str) -> RenderableType:
    """Return a heading with an empty line above it."""
    return Padding(Text(title, style="bold underline"), (1, 0, 0, 0))


def pairs(facts: Mapping[str, str | None]) -> Table:
    """Return names and values below each other; what is ``None`` or empty is left out."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            table.add_row(Text(one_line(name)), Text(one_line(value)))
    return table


def status_text(status: str | None) -> Text:
    """Return a status word in its colour."""
    word = one_line(status or "status unknown")
    return Text(word, style=_STATUS_STYLES.get(word, "yellow"))
