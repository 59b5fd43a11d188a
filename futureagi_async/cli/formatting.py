"""Text, numbers and layouts that fit any terminal: long content moves to the next line and is never cut."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import attrs
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import futureagi_async as sdk

# C0 except tab and newline, DEL, C1 (one of them begins a command like ESC [), and the characters that
# reverse the direction of writing: with them, a line would read differently from what it contains.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NO_UTF8 = re.compile(r"[\udc80-\udcff]")  # bytes of a path that Python could not decode
_UNITS = ("kB", "MB", "GB", "TB")


def clean(text: str) -> str:
    """Return the text without characters that a terminal would take for a command. Tabs become spaces."""
    text = _COMMANDS.sub("", text.replace("\r\n", "\n").replace("\t", "    "))
    return _NO_UTF8.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)


def one_line(text: str) -> str:
    """Return the text, cleaned, on one line."""
    return " ".join(clean(text.replace("\r", "\n")).split())


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun, such as ``1 record`` or ``2,000 records``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


_CHOICE_CHARACTERS = 12


def short_name(source: "sdk.CallSource") -> str:
    """Return a short label of a list: its kind, the start of its id, and its filters."""
    name = source.label[:-28]  # keep 8 of the 36 characters of an id
    status, search = getattr(source, "status", None), getattr(source, "search", None)
    filters = len(getattr(source, "filters", ()))
    chosen = (status, search and f'"{search}"', filters and format_count(filters, "filter"))
    return ", ".join([name, *(one_line(choice)[:_CHOICE_CHARACTERS] for choice in chosen if choice)])


def format_bytes(number: int) -> str:
    """Return a number of bytes such as ``1.4 MB``, in powers of 1,000."""
    if number < 1000:
        return format_count(number, "byte")
    amount, unit = number / 1000, 0
    while amount >= 999.95 and unit + 1 < len(_UNITS):
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}"


def format_duration(seconds: float) -> str:
    """Return a rounded time such as ``40 s``, ``12 min`` or ``3 h 5 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60:,} h {minutes % 60} min"


def format_number(value: float | None, unit: str = "") -> str | None:
    """Return a number with its unit and without needless digits, or ``None`` for ``None``."""
    if value is None:
        return None
    digits = f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".")
    return digits + (unit if unit == "%" else f" {unit}" if unit else "")


def format_figure(value: float | None) -> str | None:
    """Return a number with at least four significant digits, or ``None`` for ``None``."""
    if value is None or abs(value) >= 1 or value == 0:
        return format_number(value)
    return f"{value:.4g}"


def format_time(value: datetime | None) -> str | None:
    """Return a time to the second with its time zone, or ``None`` for ``None``."""
    return None if value is None else value.strftime("%Y-%m-%d %H:%M:%S %Z").strip()


_STATUS_STYLES = {"completed": "green", "failed": "red", "cancelled": "red"}


def heading(title: str, *, is_first: bool = False) -> RenderableType:
    """Return a heading with an empty line above it, unless it begins the output."""
    return Padding(Text(title, style="bold underline"), (not is_first, 0, 0, 0), expand=False)


@attrs.frozen
class Fitted:
    """Content that is laid out for the width of the terminal."""

    layout: Callable[[int], RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self.layout(options.max_width)


_INDENT: Final = 2
_GAP: Final = 2  # between the columns of a table: the padding of a column, and the space of a line
_NARROWEST_TEXT: Final = 24  # in fewer columns, running text goes below its label


def pairs(facts: Mapping[str, str | None]) -> RenderableType:
    """Return one line for each name and value. Values that are ``None`` or empty are left out."""
    rows = [(one_line(name), one_line(value)) for name, value in facts.items() if value]
    return Fitted(partial(_lay_out_pairs, rows))


def _lay_out_pairs(rows: Sequence[tuple[str, str]], width: int) -> RenderableType:
    names_width = max((cell_len(name) for name, _ in rows), default=0)
    beside = width - names_width - _INDENT
    parts: list[RenderableType] = []
    for name, value in rows:
        longest = max(map(cell_len, value.split()))
        if longest <= beside or (longest > width - _INDENT and beside >= _NARROWEST_TEXT):
            row = Table.grid(padding=(0, _INDENT, 0, 0))
            row.add_column(style="dim", no_wrap=True, width=names_width)
            row.add_column(overflow="fold")
            row.add_row(Text(name), Text(value))
            parts.append(row)
        else:
            parts += [Text(name, "dim", overflow="fold"), _indented(Text(value))]
    return Group(*parts)


@attrs.frozen
class Column:
    """A column of a table."""

    heading: str
    is_number: bool = False
    flexible: bool = False
    """Whether a cell may take several lines."""


def table(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> RenderableType:
    """Return a table. If it is too wide, each row becomes a block: the first cell, the others below it."""
    return Fitted(partial(_lay_out_table, columns, rows))


def _lay_out_table(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> RenderableType:
    widths = [
        max(cell_len(column.heading), *(cell.cell_len for cell in cells), 0)
        for column, cells in zip(
            columns, zip(*rows, strict=True) if rows else [()] * len(columns), strict=True
        )
    ]
    least = [
        min(size, _NARROWEST_TEXT // 2) if column.flexible else size
        for column, size in zip(columns, widths, strict=True)
    ]
    if sum(least) + _GAP * (len(columns) - 1) > width:
        return Group(*(part for row in rows for part in _lay_out_row(columns, row, width)))
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column, size in zip(columns, widths, strict=True):
        drawn.add_column(
            column.heading,
            justify="right" if column.is_number else "left",
            no_wrap=not column.flexible,
            overflow="fold",
            min_width=None if column.flexible else size,
        )
    for row in rows:
        drawn.add_row(*row)
    return drawn


def _lay_out_row(columns: Sequence[Column], row: Sequence[Text], width: int) -> Iterator[RenderableType]:
    first, *others = row
    yield first
    items = [
        Text.assemble((f"{column.heading} ", "dim"), cell)
        for column, cell in zip(columns[1:], others, strict=True)
        if cell.plain
    ]
    yield from map(_indented, flow(items, width - _INDENT))


def flow(items: Iterable[Text], width: int) -> list[Text]:
    """Return lines of items with dots between them. An item is broken only if it is longer than a line."""
    lines: list[Text] = []
    for item in items:
        if lines and lines[-1].cell_len + len(" · ") + item.cell_len <= width:
            lines[-1] = Text.assemble(lines[-1], " · ", item)
        else:
            lines.append(item)
    return lines


def turns(rows: Sequence[tuple[str, Text, str]]) -> RenderableType:
    """Return one line for each turn: its time, its speaker and its text."""
    return Fitted(partial(_lay_out_turns, rows))


def _lay_out_turns(rows: Sequence[tuple[str, Text, str]], width: int) -> RenderableType:
    when_width = max(cell_len(when) for when, _, _ in rows)
    who_width = max(who.cell_len for _, who, _ in rows)
    if width - when_width - who_width - 2 * _INDENT < _NARROWEST_TEXT:
        parts: list[RenderableType] = []
        for when, who, said in rows:
            parts += [Text.assemble((f"{when} " if when else "", "dim"), who), _indented(Text(said))]
        return Group(*parts)
    grid = Table.grid(padding=(0, _INDENT, 0, 0))
    grid.add_column(justify="right", style="dim", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for when, who, said in rows:
        grid.add_row(when, who, Text(said))
    return grid


def _indented(text: Text) -> RenderableType:
    text.overflow = "fold"
    return Padding(text, (0, 0, 0, _INDENT), expand=False)


def shown_path(path: Path | str) -> str:
    r"""Return a path as text that every program can read: a byte that is not UTF-8 is shown as ``\xff``."""
    return os.fsencode(path).decode(errors="backslashreplace")


def to_json(value: object) -> bytes:
    """Return a value as a JSON text."""
    import msgspec  # imported here: --help does not need it

    return msgspec.json.encode(value)


def misfits_section(misfits: "Mapping[str, sdk.JsonValue]") -> list[RenderableType]:
    """Return the misfits as JSON: values of a type that their fields can't hold. Empty if there are none."""
    if not misfits:
        return []
    sent = {name: to_json(value).decode() for name, value in misfits.items()}
    return [heading("Not of the documented type"), pairs(sent)]


def status_text(status: str | None) -> Text:
    """Return a status in its colour."""
    word = one_line(status or "status unknown")
    return Text(word, style=_STATUS_STYLES.get(word, "yellow"))
