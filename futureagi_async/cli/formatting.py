"""Text, numbers and headings for terminals."""

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from futureagi_async import JsonValue

# C0 but tab and newline, DEL, C1 (one of them begins a command like ESC [), and what turns the direction
# of writing around, so that a line reads differently from what it is.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNITS = ("kB", "MB", "GB", "TB")


def clean(text: str) -> str:
    """Return the text without what a terminal would take for a command; tabs are spaces."""
    return _COMMANDS.sub("", text.replace("\r\n", "\n").replace("\t", "    "))


def one_line(text: str) -> str:
    """Return the text, cleaned, on one line."""
    return " ".join(clean(text.replace("\r", "\n")).split())


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """Return such as ``1 record`` or ``2,000 records``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_bytes(number: int) -> str:
    """Return a number of bytes such as ``1.4 MB``, in powers of 1,000."""
    if number < 1000:
        return format_count(number, "byte")
    amount, unit = number / 1000, 0
    while amount >= 999.95 and unit + 1 < len(_UNITS):
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}"


def format_duration(seconds: float) -> str:
    """Return a time such as ``40 s``, ``12 min`` or ``3 h 5 min``, no more exact than a guess is."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60:,} h {minutes % 60} min"


def format_number(value: float | None, unit: str = "") -> str | None:
    """Return a number with its unit and without needless digits; ``None`` stays it."""
    if value is None:
        return None
    digits = f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".")
    return digits + (unit if unit == "%" else f" {unit}" if unit else "")


def format_time(value: datetime | None) -> str | None:
    """Return a time to the second, with its zone; ``None`` stays it."""
    return None if value is None else value.strftime("%Y-%m-%d %H:%M:%S %Z").strip()


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


def misfits_section(misfits: Mapping[str, JsonValue]) -> list[RenderableType]:
    """Return what was sent for fields that can't hold it, as JSON; nothing where there are no misfits."""
    if not misfits:
        return []
    sent = {name: msgspec.json.encode(value).decode() for name, value in misfits.items()}
    return [heading("Not of the documented type"), pairs(sent)]


def status_text(status: str | None) -> Text:
    """Return a status word in its colour."""
    word = one_line(status or "status unknown")
    return Text(word, style=_STATUS_STYLES.get(word, "yellow"))
