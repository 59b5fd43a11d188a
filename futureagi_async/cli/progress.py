"""An export while it runs: a live display on a terminal, a few plain lines elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from futureagi_async.cli.tally import Line, Tally
from futureagi_async.cli.text import counted, sized
from futureagi_async.events import Event, SessionPaused

_REFRESHES_PER_SECOND = 10
_PLAIN_LINE_SECONDS = 5.0
_ROWS_BESIDE_LISTS = 5  # two of totals, one on hidden lists, and the prompt
_STYLES = {
    "reading": "cyan",
    "checking": "cyan",
    "waiting": "dim",
    "incomplete": "yellow",
    "complete": "green",
}


class Display:
    """Shows nothing; the others show something while their ``with`` block runs."""

    def tell(self, event: Event) -> None:
        """Take note of an event that the tally has counted."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


class LiveDisplay(Display):
    """The board, redrawn in place and gone at the end."""

    def __init__(self, tally: Tally, console: Console) -> None:
        self._live = Live(
            console=console,
            get_renderable=lambda: render_board(tally, rows=console.height - _ROWS_BESIDE_LISTS),
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()


class PlainDisplay(Display):
    """A line at the beginning, one every few seconds, and one for each pause."""

    def __init__(self, tally: Tally, console: Console) -> None:
        self._tally = tally
        self._console = console
        self._last_line_seconds = 0.0

    def __enter__(self) -> Self:
        self._say(f"Reading {counted(len(self._tally.lines), 'list')} of calls.")
        return self

    def tell(self, event: Event) -> None:
        """Say where the export is, now and then."""
        if isinstance(event, SessionPaused):
            self._say(f"The server asked to wait {event.delay_seconds:.0f} s.")
        elif (seconds := self._tally.seconds) - self._last_line_seconds >= _PLAIN_LINE_SECONDS:
            self._last_line_seconds = seconds
            self._say(", ".join(_counts(self._tally) + _speed(self._tally)))

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)


def make_display(tally: Tally, console: Console, *, quiet: bool) -> Display:
    """Return what suits the console; observers are to be told to the tally first."""
    if quiet:
        return Display()
    if console.file.isatty() and not console.is_dumb_terminal:
        return LiveDisplay(tally, console)
    return PlainDisplay(tally, console)


def render_board(tally: Tally, *, rows: int) -> RenderableType:
    """Return one line a list, as many as fit, and the total."""
    lines = list(tally.lines.values())
    shown = lines if len(lines) <= rows else sorted(lines, key=_urgency)[: max(1, rows)]
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, min_width=len("incomplete"))
    for line in shown:
        table.add_row(Text(line.label), _bar(line), Text(_share(line)), Text(line.state, _STYLES[line.state]))
    # The last line stays short: after one of full width, the ^C that a terminal echoes would take a new line,
    # and erasing would miss the first.
    totals = [Text(" · ".join(part), style="bold") for part in (_counts(tally), _speed(tally))]
    if hidden := len(lines) - len(shown):
        totals.insert(0, Text(f"and {counted(hidden, 'list')} more", style="dim"))
    return Group(table, *totals)


def _urgency(line: Line) -> int:
    """Where there is no room for all: first what moves, last what is done."""
    return list(_STYLES).index(line.state)


def _bar(line: Line) -> RenderableType:
    if line.count is None:
        return Text("")
    filled = line.count if line.verdict == "complete" else min(line.read, line.count)
    return ProgressBar(total=line.count or 1, completed=filled or (line.verdict == "complete"))


def _share(line: Line) -> str:
    return "" if line.count is None else f"{line.read:,}/{line.count:,}"


def _counts(tally: Tally) -> list[str]:
    expected = tally.expected
    records = counted(tally.records, "record")
    return [
        records if expected is None else f"{tally.records:,} of {counted(expected, 'record')}",
        f"{tally.lists_done:,} of {counted(len(tally.lines), 'list')} done",
    ]


def _speed(tally: Tally) -> list[str]:
    parts = [f"{tally.records / max(tally.seconds, 0.001):,.0f}/s", sized(tally.bytes)]
    if tally.retries:
        parts.append(counted(tally.retries, "retry", "retries"))
    if tally.pauses:
        parts.append(f"{counted(tally.pauses, 'pause')} ({tally.paused_seconds:.0f} s)")
    return parts
