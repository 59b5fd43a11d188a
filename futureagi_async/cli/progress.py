"""An export while it runs: a live display on a terminal, a few plain lines elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from futureagi_async.cli.board import PHASES, count_words, render_board, speed_words
from futureagi_async.cli.tally import Tally
from futureagi_async.cli.text import counted
from futureagi_async.events import Event, SessionPaused

_REFRESHES_PER_SECOND = 10
_PLAIN_LINE_SECONDS = 5.0
_ROWS_BESIDE_LISTS = 5  # two of totals, one on hidden lists, and the prompt


class Display:
    """Shows nothing; the others show something while their ``with`` block runs."""

    def tell(self, event: Event) -> None:
        """Take note of an event that the tally has counted."""

    def advance(self) -> None:
        """Take note that the export went on, as the tally has counted."""

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
    """A line when a phase begins, one every few seconds, and one for each pause."""

    def __init__(self, tally: Tally, console: Console) -> None:
        self._tally = tally
        self._console = console
        self._phase = ""
        self._last_line_seconds = 0.0

    def tell(self, event: Event) -> None:
        """Say where the export is, now and then, and when the server asks for patience."""
        self.advance()
        if isinstance(event, SessionPaused):
            self._say(f"The server asked to wait {event.delay_seconds:.0f} s.")

    def advance(self) -> None:
        """Say where the export is, now and then, and when a phase begins."""
        tally = self._tally
        if tally.phase != self._phase:
            self._phase = tally.phase
            self._say(self._beginning())
        elif tally.seconds - self._last_line_seconds >= _PLAIN_LINE_SECONDS:
            self._last_line_seconds = tally.seconds
            self._say(", ".join(count_words(tally) + speed_words(tally)))

    def _beginning(self) -> str:
        if self._phase == "reading":
            return f"Reading {counted(len(self._tally.lines), 'list')} of calls."
        label, doing = PHASES[self._phase]
        return f"{doing.capitalize()} {label}."

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)


def make_display(tally: Tally, console: Console, *, quiet: bool) -> Display:
    """Return what suits the console; observers are to be told to the tally first."""
    if quiet:
        return Display()
    if console.file.isatty() and not console.is_dumb_terminal:
        return LiveDisplay(tally, console)
    return PlainDisplay(tally, console)
