"""The command `compare`: the differences between the figures of two or more runs."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console, RenderableType
from rich.text import Text

from futureagi_async.cli.connection import Connection, Endpoint, Limits, connect
from futureagi_async.cli.formatting import (
    Column,
    format_count,
    format_figure,
    heading,
    one_line,
    table,
    to_json,
)
from futureagi_async.cli.messages import UsageError
from futureagi_async.cli.running import ExitCode
from futureagi_async.cli.streams import open_stdout, print_text, write_json
from futureagi_async.cli.summaries import Subject, needed_libraries, parse_subject, read_subject

if TYPE_CHECKING:
    from futureagi_async.analysis import CallToLookAt, Comparison, Difference, Summary

COMPARE_EPILOGUE = """\
Examples:
  futureagi-async compare --demo
  futureagi-async compare "Support bot:v3" "Support bot:v4"
  futureagi-async compare last-week this-week --all-figures

You can name a run (A, B, ...) in these ways:
  the id of a test execution or of a run test, the name of a run test,
  latest:RUN, AGENT:VERSION, or the directory of an export.
  All other runs are compared with A.

The bar shows the change in percent: one cell is 10 %.
The interval is the 95 % confidence interval of the difference.
A star marks a significant change, corrected for the number of figures.

Exit codes: 0 all lists are complete; 3 something is missing; 1 failed;
  2 wrong arguments; 130 interrupted.
"""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CELLS = 4  # of a bar, on each side
_PERCENT_A_CELL = 10
_MOST_UNMATCHED = 8


def compare(
    *subjects: Annotated[
        str, Parameter(metavar="A B ...", help="Two or more runs to compare: A B ... See below.")
    ],
    all_figures: Annotated[
        bool, Parameter(help="Also show medians, small differences and each scenario.")
    ] = False,
    seed: Annotated[
        int,
        Parameter(
            metavar="N",
            validator=Number(gte=0),
            show_default=True,
            help="The seed of the random samples behind the intervals.",
        ),
    ] = 0,
    json: Annotated[bool, Parameter(help="Print all figures as one JSON object.")] = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Compare runs: which figures changed, and which changes are significant."""
    parsed = [parse_subject(text, letter) for text, letter in zip(subjects, _LETTERS, strict=False)]
    if len(subjects) > len(_LETTERS):
        raise UsageError(f"compare takes {len(_LETTERS)} runs at most, not {len(subjects)}.")
    with needed_libraries():
        from futureagi_async.analysis import compare as compare_calls
    with connect(connection) as endpoint:
        chosen = _choose(parsed, endpoint)
        summaries = [read_subject(subject, endpoint, limits) for subject in chosen]
    first, *others = summaries
    comparisons = [compare_calls(first, other, seed=seed) for other in others]
    if json:
        write_json(to_json({"comparisons": [each.to_dict() for each in comparisons]}))
    else:
        console = open_stdout()
        print_legend(summaries, console)
        for letter, comparison in zip(_LETTERS[1:], comparisons, strict=False):
            print_comparison(comparison, letter, console, all_figures=all_figures)
    incomplete = any(summary.verdict.completeness == "incomplete" for summary in summaries)
    return ExitCode.INCOMPLETE if incomplete else ExitCode.DONE


def _choose(subjects: Sequence[Subject], endpoint: Endpoint) -> Sequence[Subject]:
    """Return the runs to compare: those given, else agent versions of the sample data."""
    if not subjects and endpoint.stand_in is not None:
        (agent_id, earlier), (_, later), *_ = endpoint.stand_in.agent_versions
        return [
            parse_subject(f"{agent_id}:{version}", letter)
            for version, letter in ((earlier, "A"), (later, "B"))
        ]
    if len(subjects) < 2:
        raise UsageError(
            'Name at least two runs to compare. For example: futureagi-async compare "Bot:v3" "Bot:v4".'
        )
    return subjects


def print_legend(summaries: "Sequence[Summary]", console: Console) -> None:
    """Print which run each letter stands for, and what is missing."""
    for letter, summary in zip(_LETTERS, summaries, strict=False):
        completeness = summary.verdict.completeness
        words = f"{letter}  {one_line(summary.label)}: {format_count(summary.calls, 'call')}, {completeness}"
        print_text(console, Text(words, style="bold"))
        for reason in summary.verdict.reasons:
            print_text(console, Text(one_line(f"{completeness}: {reason}"), style="yellow"), indent=3)


def print_comparison(comparison: "Comparison", letter: str, console: Console, *, all_figures: bool) -> None:
    """Print the differences over all calls and by scenario, and the calls to look at."""
    console.print(heading(f"{letter} against A"))
    if comparison.pairs:
        words = f"{format_count(comparison.pairs, 'pair')} of calls of the same scenario and dataset row"
        print_text(console, Text(words, style="dim"))
    _print_figures(comparison.differences, letter, console, all_figures=all_figures)
    for scenario in comparison.scenarios:
        shown = [each for each in scenario.differences if all_figures or each.beyond_chance]
        if shown:
            console.print(heading(f"Scenario {one_line(scenario.label)}"))
            _print_figures(shown, letter, console, all_figures=all_figures)
    if comparison.scenarios and not any(
        each.beyond_chance for scenario in comparison.scenarios for each in scenario.differences
    ):
        print_text(console, Text("No scenario has a significant change.", style="dim"))
    for words in comparison.unmatched[:_MOST_UNMATCHED]:
        print_text(console, Text(one_line(words), style="dim"))
    if more := comparison.unmatched[_MOST_UNMATCHED:]:
        print_text(
            console, Text(f"{len(more):,} more could not be compared. --json shows them.", style="dim")
        )
    if comparison.calls_to_look_at:
        console.print(heading(f"Calls of {letter} to look at first"))
        console.print(_calls(comparison.calls_to_look_at))


def _print_figures(
    differences: "Sequence[Difference]", letter: str, console: Console, *, all_figures: bool
) -> None:
    shown = [each for each in differences if all_figures or _matters(each)]
    if not shown:
        print_text(console, Text("There are no figures to compare.", style="dim"))
        return
    columns = [
        Column("Figure", flexible=True),
        Column("A", is_number=True),
        Column("n", is_number=True),
        Column(letter, is_number=True),
        Column("n", is_number=True),
        Column("Difference", is_number=True),
        Column("95 % interval", is_number=True),
        Column(""),
    ]
    blocks = console.encoding.lower().startswith("utf")
    console.print(table(columns, [_row(each, blocks=blocks) for each in shown]))


def _matters(difference: "Difference") -> bool:
    """Whether a figure is shown by default: significant changes, and what both runs have, except medians."""
    if difference.beyond_chance:
        return True
    return difference.kind != "median" and difference.before is not None and difference.after is not None


def _row(difference: "Difference", *, blocks: bool) -> list[Text]:
    unit = f" ({difference.unit})" if difference.unit else ""
    star = "* " if difference.beyond_chance else ""
    style = "bold" if difference.beyond_chance else ""
    interval = difference.interval
    change = difference.difference
    cells = (
        f"{star}{one_line(difference.label)}{unit}",
        format_figure(difference.before),
        f"{difference.n_before:,}",
        format_figure(difference.after),
        f"{difference.n_after:,}",
        None if change is None else _signed(change),
        None if interval is None else f"{_signed(interval.low)} to {_signed(interval.high)}",
        "".join(_bar(difference, blocks=blocks)),
    )
    return [Text(cell or "", style=style) for cell in cells]


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{format_figure(value)}"


def _bar(difference: "Difference", *, blocks: bool) -> Iterator[str]:
    """Yield a bar: to the left of the middle for a decrease, to the right for an increase."""
    if difference.difference is None or difference.before is None:
        return
    base = abs(difference.before)
    percent = 100 * difference.difference / base if base else 1000.0 * (difference.difference > 0)
    cells = min(_CELLS, round(abs(percent) / _PERCENT_A_CELL))
    block, middle = ("█", "│") if blocks else ("#", "|")
    fell, rose = (cells, 0) if percent < 0 else (0, cells)
    yield " " * (_CELLS - fell) + block * fell + middle + block * rose + " " * (_CELLS - rose)


def _calls(calls: "Sequence[CallToLookAt]") -> RenderableType:
    columns = [
        Column("Call"),
        Column("Why", flexible=True),
        Column("Score", is_number=True),
        Column("Scenario", flexible=True),
    ]
    return table(
        columns,
        [
            [
                Text(one_line(call.call_id)),
                Text(_why(call)),
                Text(format_figure(call.score) or ""),
                Text(one_line(call.scenario or "")),
            ]
            for call in calls
        ],
    )


def _why(call: "CallToLookAt") -> str:
    if not call.evaluations:
        return call.reason
    return one_line(f"{call.reason}: {', '.join(call.evaluations)}")
