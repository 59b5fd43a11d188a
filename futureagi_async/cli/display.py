"""Shows the progress of an export: a live display on a terminal, plain lines elsewhere."""

import re
from collections.abc import Sequence
from functools import partial

import attrs
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from futureagi_async.cli.formatting import Fitted, flow, format_bytes, format_count, format_duration
from futureagi_async.cli.live import Redrawn, Silent
from futureagi_async.cli.progress import ListProgress, PhaseProgress, Progress
from futureagi_async.events import Event, OutageEnded, ProbePlanned, SessionPaused

PHASES = {
    "transcripts": ("transcripts", "fetching"),
    "recordings": ("recordings", "downloading"),
    "writing": ("files", "writing"),
    "merging": ("database", "updating"),
    "uploading": ("parts", "uploading"),
}
"""For each phase after reading: the label of its line, and the verb that says what happens."""

_OF_RECORDS = ("reading", "writing", "uploading", "merging")
_STYLES = {
    "reading": "cyan",
    "checking": "cyan",
    "waiting": "dim",
    "incomplete": "yellow",
    "complete": "green",
}
_WIDEST_STATE = len("downloading")
_NARROWEST_BAR = 8
_KIND = re.compile("^(run test|agent version|test execution) ")
_GAP = 2


def render_progress(progress: Progress, *, rows: int) -> RenderableType:
    """Return the lines of the lists and phases, as many as fit into ``rows``, and the totals."""
    lines = list(progress.lines.values())
    rows -= len(progress.stages) - 1 + (progress.outage is not None)
    shown = lines if len(lines) <= rows else sorted(lines, key=_urgency)[: max(1, rows)]
    bars = [_list_bar(line) for line in shown]
    bars += [
        _phase_bar(phase, stage, going_on=phase == progress.phase)
        for phase, stage in progress.stages.items()
        if phase in PHASES
    ]
    # The last line stays short: after a line of full width, the ^C that a terminal echoes would start a new
    # line, and erasing would miss the first line.
    totals: list[RenderableType] = [_totals(count_words(progress)), _totals(speed_words(progress))]
    if hidden := len(lines) - len(shown):
        totals.insert(0, Text(f"and {format_count(hidden, 'list')} more", style="dim"))
    if outage := outage_words(progress):
        totals.insert(0, Text(outage, style="yellow"))
    return Group(Fitted(partial(_lay_out_bars, bars)), *totals)


def _totals(words: list[str]) -> RenderableType:
    return Fitted(lambda width: Group(*flow([Text(word, style="bold") for word in words], width - 1)))


@attrs.frozen
class _Bar:
    """One line of the display."""

    label: str
    bar: RenderableType
    share: str
    state: Text


def _lay_out_bars(bars: Sequence[_Bar], width: int) -> RenderableType:
    """Return a table of labels, bars, counts and states; on a narrow terminal without the bars."""
    label_width = max(cell_len(bar.label) for bar in bars)
    others_width = max(len(bar.share) for bar in bars) + max(_WIDEST_STATE, *(len(bar.state) for bar in bars))
    with_bars = label_width + others_width + _NARROWEST_BAR + 3 * _GAP <= width
    short = label_width + others_width + 2 * _GAP > width
    table = Table.grid(padding=(0, _GAP, 0, 0), expand=with_bars)
    table.add_column(overflow="fold")
    if with_bars:
        table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, min_width=_WIDEST_STATE)
    for bar in bars:
        label = _KIND.sub("", bar.label) if short else bar.label
        table.add_row(Text(label), *([bar.bar] if with_bars else []), Text(bar.share), bar.state)
    return table


def count_words(progress: Progress) -> list[str]:
    """Return how much is done, and how long the rest takes."""
    noun = "record" if progress.phase in _OF_RECORDS else progress.phase.removesuffix("s")
    done, expected = progress.stage.records, progress.expected
    words = [format_count(done, noun) if expected is None else f"{done:,} of {format_count(expected, noun)}"]
    if progress.phase == "reading":
        words.append(f"{progress.lists_done:,} of {format_count(len(progress.lines), 'list')} done")
    if (seconds := progress.seconds_left) is not None:
        words.append(f"{format_duration(seconds)} left")
    return words


def speed_words(progress: Progress) -> list[str]:
    """Return the speed, the bytes, and the retries, throttled requests, pauses and outages."""
    words = [f"{progress.rate:,.0f}/s"] if progress.rate else []
    words.append(format_bytes(progress.stage.bytes))
    if progress.retries:
        words.append(format_count(progress.retries, "retry", "retries"))
    if progress.throttled:
        words.append(f"{progress.throttled:,} throttled")
    if progress.pauses:
        words.append(f"{format_count(progress.pauses, 'pause')} ({progress.paused_seconds:.0f} s)")
    if progress.outage_seconds:
        length = format_duration(progress.outage_seconds)
        words.append(f"{format_count(progress.outages, 'outage')} ({length})")
    return words


def outage_words(progress: Progress) -> str:
    """Return since when the server does not answer, and the time of the next try; empty without an outage."""
    if progress.outage is None:
        return ""
    since = f"{progress.outage.since:%H:%M:%S} ({format_duration(progress.seconds_out)})"
    seconds = progress.seconds_to_next_try
    return f"The server does not answer since {since}, " + (
        f"next try in {format_duration(seconds)}" if seconds else "trying now"
    )


def _phase_bar(phase: str, stage: PhaseProgress, *, going_on: bool) -> _Bar:
    label, doing = PHASES[phase]
    total = stage.total
    return _Bar(
        label,
        Text("") if total is None else ProgressBar(total=total or 1, completed=stage.records or not total),
        f"{stage.records:,}" if total is None else f"{stage.records:,}/{total:,}",
        Text(doing, "cyan") if going_on else Text("done", "green"),
    )


def _list_bar(line: ListProgress) -> _Bar:
    return _Bar(line.label, _bar(line), _share(line), Text(line.state, _STYLES[line.state]))


def _urgency(line: ListProgress) -> int:
    """The sort key when not all lists fit: lists in progress first, complete lists last."""
    return list(_STYLES).index(line.state)


def _bar(line: ListProgress) -> RenderableType:
    if line.verdict == "complete":
        return ProgressBar(total=1, completed=1)
    if line.count is None:
        return Text("")
    return ProgressBar(total=line.count or 1, completed=min(line.read, line.count))


def _share(line: ListProgress) -> str:
    if line.count is None:  # not requested in this run: an earlier run completed it, or it failed
        return f"{line.read:,}" if line.verdict is not None else ""
    return f"{line.read:,}/{line.count:,}"


_REFRESHES_PER_SECOND = 10
_PLAIN_LINE_SECONDS = 5.0
_ROWS_BESIDE_LISTS = 5  # two rows of totals, one row for hidden lists, and the prompt


class Display(Silent):
    """Shows nothing. Its subclasses show the progress while their ``with`` block runs."""

    def on_event(self, event: Event) -> None:
        """Receive an event that ``progress`` has counted."""

    def advance(self) -> None:
        """Update the display after ``progress`` has changed."""


class LiveDisplay(Redrawn, Display):
    """Shows bars on a terminal, redrawn in place and erased at the end."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._live = Live(
            console=console,
            get_renderable=lambda: render_progress(progress, rows=console.height - _ROWS_BESIDE_LISTS),
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
        )


class PlainDisplay(Display):
    """Prints a line when a phase begins, one every few seconds, and one for each pause or outage."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._phase = ""
        self._last_line_seconds = 0.0
        self._is_out = False

    def on_event(self, event: Event) -> None:
        """Print pauses and outages, and the progress every few seconds."""
        match event:
            case SessionPaused():
                self._say(f"The server asked for a pause of {event.delay_seconds:.0f} s.")
            case ProbePlanned() if not self._is_out or self._is_time():
                self._is_out = True
                self._say_in_turn(f"{outage_words(self._progress)}.")
            case OutageEnded():
                self._is_out = False
                if event.answered:
                    self._say_in_turn(f"The server answers again after {format_duration(event.seconds)}.")
        self.advance()

    def advance(self) -> None:
        """Print a line when a phase begins, and the progress every few seconds."""
        progress = self._progress
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._say(self._beginning())
        elif progress.outage is None and self._is_time():
            self._say_in_turn(", ".join(count_words(progress) + speed_words(progress)))

    def _is_time(self) -> bool:
        return self._progress.seconds - self._last_line_seconds >= _PLAIN_LINE_SECONDS

    def _beginning(self) -> str:
        if self._phase == "reading":
            return f"Reading {format_count(len(self._progress.lines), 'list')} of calls."
        label, doing = PHASES[self._phase]
        return f"{doing.capitalize()} {label}."

    def _say_in_turn(self, line: str) -> None:
        """Print a line, and no further progress line for some seconds."""
        self._last_line_seconds = self._progress.seconds
        self._say(line)

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)


def make_display(progress: Progress, console: Console, *, quiet: bool) -> Display:
    """Return the display that suits the console. Report each event to ``progress`` before the display."""
    if quiet:
        return Display()
    if console.file.isatty() and not console.is_dumb_terminal:
        return LiveDisplay(progress, console)
    return PlainDisplay(progress, console)
