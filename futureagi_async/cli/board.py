"""An export while it runs, drawn: a line a list, a line for each further phase, and the totals."""

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from futureagi_async.cli.tally import Line, Stage, Tally
from futureagi_async.cli.text import counted, lasting, sized

PHASES = {
    "transcripts": ("transcripts", "fetching"),
    "recordings": ("recordings", "downloading"),
    "writing": ("files", "writing"),
}
"""Of each phase after reading, what its line is called, and the word for what goes on."""

_STYLES = {
    "reading": "cyan",
    "checking": "cyan",
    "waiting": "dim",
    "incomplete": "yellow",
    "complete": "green",
}
_WIDEST_STATE = len("downloading")


def render_board(tally: Tally, *, rows: int) -> RenderableType:
    """Return as many lists as fit into ``rows`` beside further phases, and the totals."""
    lines = list(tally.lines.values())
    rows -= len(tally.stages) - 1
    shown = lines if len(lines) <= rows else sorted(lines, key=_urgency)[: max(1, rows)]
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, min_width=_WIDEST_STATE)
    for line in shown:
        table.add_row(Text(line.label), _bar(line), Text(_share(line)), Text(line.state, _STYLES[line.state]))
    for phase, stage in tally.stages.items():
        if phase in PHASES:
            _add_stage(table, phase, stage, going_on=phase == tally.phase)
    # The last line stays short: after one of full width, the ^C that a terminal echoes would take a new line,
    # and erasing would miss the first.
    totals = [Text(" · ".join(part), style="bold") for part in (count_words(tally), speed_words(tally))]
    if hidden := len(lines) - len(shown):
        totals.insert(0, Text(f"and {counted(hidden, 'list')} more", style="dim"))
    return Group(table, *totals)


def count_words(tally: Tally) -> list[str]:
    """Say how much is done and how long the rest takes."""
    noun = "record" if tally.phase in ("reading", "writing") else tally.phase.removesuffix("s")
    done, expected = tally.stage.records, tally.expected
    words = [counted(done, noun) if expected is None else f"{done:,} of {counted(expected, noun)}"]
    if tally.phase == "reading":
        words.append(f"{tally.lists_done:,} of {counted(len(tally.lines), 'list')} done")
    if (seconds := tally.seconds_left) is not None:
        words.append(f"{lasting(seconds)} left")
    return words


def speed_words(tally: Tally) -> list[str]:
    """Say how fast it goes, and what the server objected to."""
    words = [f"{tally.rate:,.0f}/s"] if tally.rate else []
    words.append(sized(tally.stage.bytes))
    if tally.retries:
        words.append(counted(tally.retries, "retry", "retries"))
    if tally.throttled:
        words.append(f"{tally.throttled:,} throttled")
    if tally.pauses:
        words.append(f"{counted(tally.pauses, 'pause')} ({tally.paused_seconds:.0f} s)")
    return words


def _add_stage(table: Table, phase: str, stage: Stage, *, going_on: bool) -> None:
    label, doing = PHASES[phase]
    total = stage.total
    table.add_row(
        Text(label),
        Text("") if total is None else ProgressBar(total=total or 1, completed=stage.records or not total),
        Text(f"{stage.records:,}" if total is None else f"{stage.records:,}/{total:,}"),
        Text(doing, "cyan") if going_on else Text("done", "green"),
    )


def _urgency(line: Line) -> int:
    """Where there is no room for all: first what moves, last what is done."""
    return list(_STYLES).index(line.state)


def _bar(line: Line) -> RenderableType:
    if line.verdict == "complete":
        return ProgressBar(total=1, completed=1)
    if line.count is None:
        return Text("")
    return ProgressBar(total=line.count or 1, completed=min(line.read, line.count))


def _share(line: Line) -> str:
    if line.count is None:  # not asked for in this run: an earlier one was done with it, or it failed
        return f"{line.read:,}" if line.verdict is not None else ""
    return f"{line.read:,}/{line.count:,}"
