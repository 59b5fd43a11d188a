"""Shows the progress of a test execution: a live board on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Mapping
from functools import partial

import attrs
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

import futureagi_async as sdk
from futureagi_async.cli.formatting import (
    Fitted,
    format_count,
    format_duration,
    one_line,
    status_text,
    to_json,
)
from futureagi_async.cli.live import Redrawn, Silent
from futureagi_async.cli.streams import write_json
from futureagi_async.events import Event, ExecutionChecked, OutageBegan, OutageEnded

_REFRESHES_PER_SECOND = 4
_PLAIN_LINE_SECONDS = 60.0
_NARROWEST_BAR = 8
_GAP = 2
_ENDED = (sdk.ExecutionStatus.COMPLETED, sdk.ExecutionStatus.FAILED, sdk.ExecutionStatus.CANCELLED)


def state_json(state: "sdk.ExecutionState") -> bytes:
    """Return a state as a JSON object."""
    return to_json(attrs.asdict(state, recurse=False))


class Progress(Silent):
    """Shows nothing. Its subclasses show the progress of the test execution."""

    def on_event(self, event: Event) -> None:
        """Receive an event of the session."""


class Changes(Progress):
    """Reports each state that differs from the previous one, and each outage."""

    def __init__(self) -> None:
        self._last: sdk.ExecutionState | None = None

    def on_event(self, event: Event) -> None:
        """Report an event that says something new."""
        match event:
            case ExecutionChecked(state=state):
                if self._last is None or self.is_news(self._last, state):
                    self._last = state
                    self.on_change(state)
            case OutageBegan():
                self.on_outage(f"The server does not answer. Waiting up to {event.max_outage:.0f} s.")
            case OutageEnded(answered=True):
                self.on_outage(f"The server answers again after {format_duration(event.seconds)}.")

    def is_news(self, before: "sdk.ExecutionState", now: "sdk.ExecutionState") -> bool:
        """Whether a state needs a line of its own."""
        return attrs.evolve(before, elapsed=now.elapsed) != now

    def on_change(self, state: "sdk.ExecutionState") -> None:
        """Report a state."""

    def on_outage(self, message: str) -> None:
        """Report that the server does not answer, or answers again."""


class PlainLines(Changes):
    """Prints a line at each change, and at least one line a minute."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def is_news(self, before: "sdk.ExecutionState", now: "sdk.ExecutionState") -> bool:
        """Also report an unchanged state once a minute."""
        return super().is_news(before, now) or now.elapsed - before.elapsed >= _PLAIN_LINE_SECONDS

    def on_change(self, state: "sdk.ExecutionState") -> None:
        """Print a line."""
        self.on_outage(f"{format_duration(state.elapsed)}  {one_line(str(state))}")

    def on_outage(self, message: str) -> None:
        """Print a line."""
        self._console.print(message, soft_wrap=True)


class JsonLines(Changes):
    """Prints one JSON object per line."""

    def on_change(self, state: "sdk.ExecutionState") -> None:
        """Print a line."""
        write_json(state_json(state))


class Board(Redrawn, Progress):
    """A live board on a terminal, redrawn in place."""

    def __init__(
        self, console: Console, *, transient: bool, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._began = now()
        self._state: sdk.ExecutionState | None = None
        self._next_look = 0.0
        self._is_out = False
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=transient,
        )

    def on_event(self, event: Event) -> None:
        """Store what the next redraw shows."""
        match event:
            case ExecutionChecked():
                self._state, self._next_look = event.state, self._now() + event.delay_seconds
            case OutageBegan():
                self._is_out = True
            case OutageEnded():
                self._is_out = False

    def _render(self) -> RenderableType:
        if self._state is None:
            return Text("Checking for the first time.", style="dim")
        return Group(
            render_state(attrs.evolve(self._state, elapsed=self._now() - self._began)), self._footer()
        )

    def _footer(self) -> Text:
        assert self._state is not None
        if self._is_out:
            return Text("The server does not answer. Retrying.", style="yellow")
        if self._state.is_final:
            return Text("")
        left = self._next_look - self._now()
        return Text(f"Next check in {left:.0f} s." if left >= 0.5 else "Checking.", style="dim")


def live_or_plain(console: Console, *, transient: bool) -> Progress:
    """Return the progress display: a live board on a terminal, plain lines elsewhere."""
    if console.file.isatty() and not console.is_dumb_terminal:
        return Board(console, transient=transient)
    return PlainLines(console)


def render_state(state: "sdk.ExecutionState") -> RenderableType:
    """Return the status, the elapsed time, the calls by status with bars, and the pending evaluations."""
    title = _title(state)
    parts: list[RenderableType] = [title, Text(one_line(state.id), style="dim")]
    if state.counts:
        parts.append(Fitted(partial(_lay_out_counts, state)))
    pending = format_count(state.pending_evaluations, "evaluation")
    if state.pending_evaluations:
        parts.append(Text(f"{pending} pending", style="yellow"))
    elif state.is_final:
        parts.append(Text(f"{format_count(state.calls, 'call')}, no evaluation pending", style="dim"))
    return Group(*parts)


def _title(state: "sdk.ExecutionState") -> Text:
    """Return the status and the elapsed time. An execution may have ended before its calls are final."""
    head, after = ("Test execution ", "bold"), f" after {format_duration(state.elapsed)}"
    if state.status in _ENDED and not state.is_final:
        return Text.assemble(head, f"is not final{after} (status: ", status_text(state.status), ")")
    return Text.assemble(head, status_text(state.status), after)


def _lay_out_counts(state: "sdk.ExecutionState", width: int) -> RenderableType:
    labels = max(cell_len(one_line(word)) for word in state.counts)
    figures = max(len(f"{number:,}") for number in state.counts.values())
    with_bars = labels + figures + _NARROWEST_BAR + 3 * _GAP <= width
    grid = Table.grid(padding=(0, _GAP, 0, 0), expand=with_bars)
    grid.add_column(overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    if with_bars:
        grid.add_column(ratio=1)
    for word, number in state.counts.items():
        bar = ProgressBar(
            total=state.calls,
            completed=number,
            complete_style=_STYLES.get(word, "cyan"),
            finished_style="green",
        )
        grid.add_row(status_text(word), Text(f"{number:,}"), *([bar] if with_bars else []))
    return grid


_STYLES: Mapping[str, str] = {
    sdk.CallStatus.COMPLETED: "green",
    sdk.CallStatus.FAILED: "red",
    sdk.CallStatus.CANCELLED: "red",
}
