"""The command `gate`: checks the figures of calls against rules."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.text import Text

import futureagi_async as sdk
from futureagi_async.cli.connection import Connection, Endpoint, Limits, connect, find_sources, read_one
from futureagi_async.cli.formatting import Column, format_count, format_figure, one_line, table, to_json
from futureagi_async.cli.gate_files import to_junit, to_markdown, verdict_words
from futureagi_async.cli.messages import UsageError, usage_errors
from futureagi_async.cli.running import ExitCode
from futureagi_async.cli.sources import SourceOptions, name_sources
from futureagi_async.cli.streams import (
    OutputError,
    open_stderr,
    open_stdout,
    print_text,
    print_warning,
    write_json,
)
from futureagi_async.cli.summaries import (
    Subject,
    find_subject,
    needed_libraries,
    parse_subject,
    read_lists,
    read_subject,
)

if TYPE_CHECKING:
    from futureagi_async.analysis import CheckOutcome, Rule, RuleFile, RuleResult, Summary

GATE_EPILOGUE = """\
Examples:
  futureagi-async gate --demo --min overall_score.mean=4
  futureagi-async gate ID --wait --min overall_score.mean=7 \\
      --max status.failed=0
  futureagi-async gate latest:"Checkout flow" \\
      --min eval.politeness.pass_rate=0.9
  futureagi-async gate ID --baseline last-week --max-drop overall_score.mean=0.3
  futureagi-async gate ID --rules gate.toml --markdown gate.md --junit gate.xml

Figures:
  NUMBER.mean, .median, .p5, .p95 or .n, where NUMBER is overall_score,
    duration, response_time, total_tokens or any other number of a call
  status.WORD (a count) or status.WORD.share
  eval.NAME.pass_rate, .mean, .share.CHOICE, .n, .pending, .skipped or .failed
  scenario.NAME. before any figure: only the calls of that scenario
  NAME may be an id.

Exit codes: 0 all rules pass; 4 a rule is broken; 3 something is missing, so the
  result is unknown; 1 failed; 2 wrong arguments; 130 interrupted.
"""

RULES = Group("Rules", help="You can repeat the first four options.", sort_key=0)
RESULTS = Group("Results", sort_key=2)


@Parameter(name="*", group=RULES)
@attrs.define(frozen=True, kw_only=True)
class RuleOptions:
    """Options that define the rules."""

    min: Annotated[
        tuple[str, ...], Parameter(metavar="FIGURE=N", help="The figure must be at least this.")
    ] = ()
    max: Annotated[
        tuple[str, ...], Parameter(metavar="FIGURE=N", help="The figure must be at most this.")
    ] = ()
    max_drop: Annotated[
        tuple[str, ...],
        Parameter(metavar="FIGURE=N", help="The figure may be lower than in the baseline by at most this."),
    ] = ()
    max_rise: Annotated[
        tuple[str, ...],
        Parameter(metavar="FIGURE=N", help="The figure may be higher than in the baseline by at most this."),
    ] = ()
    rules: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="A TOML file with rules. It can also set min_calls and significant."),
    ] = None
    baseline: Annotated[
        str | None, Parameter(metavar="OTHER", help="The run to compare with. Name it like ID.")
    ] = None
    significant: Annotated[
        bool,
        Parameter(help="Rules on the baseline break only if the difference is statistically significant."),
    ] = False
    min_calls: Annotated[
        int | None,
        Parameter(
            metavar="N",
            validator=Number(gte=0),
            help="The lowest number of values for each figure. Default: 1.",
        ),
    ] = None


@Parameter(name="*", group=RESULTS)
@attrs.define(frozen=True, kw_only=True)
class ResultOptions:
    """Options that say where the result is written."""

    json: Annotated[bool, Parameter(help="Print the result as one JSON object.")] = False
    markdown: Annotated[
        Path | None,
        Parameter(
            metavar="FILE",
            help="Also write the result as Markdown. In GitHub Actions, it also goes to the job summary.",
        ),
    ] = None
    junit: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Also write the result as JUnit XML: one test case per rule."),
    ] = None


def gate(
    calls: Annotated[
        str | None,
        Parameter(
            name="ID",
            metavar="ID",
            help="The id of a test execution or run test, the name of a run test, latest:RUN, AGENT:VERSION, "
            "or the directory of an export. Not needed with --demo.",
        ),
    ] = None,
    /,
    *,
    lists: SourceOptions = SourceOptions(),  # noqa: B008 - frozen
    rules: RuleOptions = RuleOptions(),  # noqa: B008 - frozen
    wait: Annotated[
        bool,
        Parameter(
            help="Before the check, wait until the test execution, its calls and evaluations are final."
        ),
    ] = False,
    timeout: Annotated[
        float,
        Parameter(
            metavar="SECONDS",
            validator=Number(gte=0),
            show_default=True,
            help="The longest time that --wait waits.",
        ),
    ] = 3600,
    results: ResultOptions = ResultOptions(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Check the figures of calls against rules. In CI, use the exit code.

    A rule breaks if its figure does not exist or has too few values. A check
    of incomplete data never passes.
    """
    with needed_libraries():
        checked = _read_rules(rules)
    _check_places(results)
    _check_lists(calls, lists, wait=wait)
    subject = None if calls is None else parse_subject(calls, "ID")
    baseline = None if rules.baseline is None else parse_subject(rules.baseline, "--baseline")
    with connect(connection) as endpoint:
        summary = _read(subject, lists, endpoint, limits, timeout if wait else None)
        earlier = None if baseline is None else read_subject(baseline, endpoint, limits)
    outcome = _check(summary, checked, earlier)
    code = _exit_code(outcome)
    _write_files(outcome, results)
    if results.json:
        write_json(to_json({"exit_code": int(code), **outcome.to_dict()}))
    else:
        print_outcome(outcome, open_stdout())
    return code


def _read_rules(options: RuleOptions) -> "RuleFile":
    """Return all rules and their settings. Options take precedence over the file."""
    from futureagi_async.analysis import Rule, RuleFile

    relative = partial(Rule, from_baseline=True)
    found = RuleFile(()) if options.rules is None else _load_rules(options.rules)
    rules: list[Rule] = [
        *_rules("--min", options.min, lambda figure, least: Rule(figure, ">=", least)),
        *_rules("--max", options.max, lambda figure, most: Rule(figure, "<=", most)),
        *_rules("--max-drop", options.max_drop, lambda figure, drop: relative(figure, ">=", -drop)),
        *_rules("--max-rise", options.max_rise, lambda figure, rise: relative(figure, "<=", rise)),
        *found.rules,
    ]
    if not rules:
        raise UsageError("There is no rule to check: give --min, --max, --max-drop, --max-rise or --rules.")
    lone = [rule for rule in rules if rule.from_baseline and options.baseline is None]
    if lone:
        raise UsageError(f"The rule '{lone[0]}' needs a run to compare with: name it with --baseline.")
    min_calls = options.min_calls if options.min_calls is not None else found.min_calls
    return RuleFile(tuple(rules), min_calls, options.significant or found.significant)


def _load_rules(path: Path) -> "RuleFile":
    from futureagi_async.analysis import load_rules

    try:
        return load_rules(path)
    except ValueError as error:
        raise UsageError(f"--rules: {error}") from error
    except OSError as error:
        raise UsageError(f"--rules: can't read {path}: {error.strerror or error}.") from error


def _rules(option: str, texts: Sequence[str], make: "Callable[[str, float], Rule]") -> "Iterator[Rule]":
    for text in texts:
        figure, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not figure.strip() or math.isnan(value):
            raise UsageError(f"{option} must be FIGURE=NUMBER, such as overall_score.mean=7, not {text!r}.")
        with usage_errors(option):
            yield make(figure.strip(), value)


def _check_places(results: ResultOptions) -> None:
    for option, path in (("--markdown", results.markdown), ("--junit", results.junit)):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise UsageError(f"{option}: can't write {path}. Name a file in a directory that exists.")


def _check_lists(calls: str | None, lists: SourceOptions, *, wait: bool) -> None:
    if calls is not None and lists.named:
        raise UsageError("Give either ID or options that name lists, but not both.")
    if wait and lists.named:
        raise UsageError("--wait needs one test execution: name it with ID.")


def _read(
    subject: Subject | None, lists: SourceOptions, endpoint: Endpoint, limits: Limits, timeout: float | None
) -> "Summary":
    """Read the calls. With a timeout, first wait until the test execution is final."""
    if lists.named:
        return read_lists(find_sources(endpoint, name_sources(lists), limits), endpoint, limits)
    if subject is None:
        if endpoint.stand_in is None:
            raise UsageError(
                "Name the calls to check. For example: futureagi-async gate latest:RUN --min ..."
            )
        subject = parse_subject(endpoint.stand_in.test_execution_ids[0], "ID")
    if timeout is None:
        summary = read_subject(subject, endpoint, limits)
        if subject.export is None:
            _warn_of_unfinished(summary)
        return summary
    source = None if subject.export else find_subject(subject, endpoint)
    if not isinstance(source, sdk.TestExecutionCalls):
        raise UsageError(f"--wait needs a test execution, but {subject.text} is not one.")
    state = _wait(source, timeout, endpoint)
    summary = read_lists([source], endpoint, limits, label=one_line(subject.text))
    if state.status == sdk.ExecutionStatus.COMPLETED:
        return summary
    reason = f"The test execution ended with status {state.status}: some of its calls may not have run."
    reasons = (*summary.verdict.reasons, reason)
    verdict = attrs.evolve(summary.verdict, completeness="incomplete", reasons=reasons)
    return attrs.evolve(summary, verdict=verdict)


def _wait(source: "sdk.TestExecutionCalls", timeout: float, endpoint: Endpoint) -> "sdk.ExecutionState":
    from futureagi_async.cli.board import live_or_plain
    from futureagi_async.cli.waiting import run_demo

    progress = live_or_plain(open_stderr(), transient=True)
    if endpoint.stand_in is not None:
        run_demo(endpoint, source.test_execution_id)
    with progress:
        return read_one(
            endpoint,
            lambda session: session.wait_for_execution(source.test_execution_id, timeout),
            observers=[progress.on_event],
        )


def _warn_of_unfinished(summary: "Summary") -> None:
    states = sdk.CallStatus
    under_way = (states.PENDING, states.QUEUED, states.ONGOING, states.ANALYZING)
    unfinished = sum(summary.counts["status"].of(word).count for word in under_way)
    if unfinished:
        calls = f"{format_count(unfinished, 'call')} {'is' if unfinished == 1 else 'are'}"
        print_warning(f"{calls} not final yet. For a test execution, --wait waits until all calls are final.")


def _check(summary: "Summary", rules: "RuleFile", baseline: "Summary | None") -> "CheckOutcome":
    from futureagi_async.analysis import check

    min_calls = 1 if rules.min_calls is None else rules.min_calls
    significant = bool(rules.significant)
    return check(summary, rules.rules, baseline, min_calls=min_calls, significant=significant)


def _exit_code(outcome: "CheckOutcome") -> ExitCode:
    if outcome.completeness == "incomplete":
        return ExitCode.INCOMPLETE
    return ExitCode.DONE if outcome.passed else ExitCode.BROKEN


def _write_files(outcome: "CheckOutcome", results: ResultOptions) -> None:
    for path, make in ((results.markdown, to_markdown), (results.junit, to_junit)):
        if path is not None:
            try:
                path.write_bytes(make(outcome))
            except OSError as error:
                raise OutputError(
                    f"Can't write {path}: {error.strerror or error}.", reader_left=False
                ) from error
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(summary).open("ab") as file:
                file.write(to_markdown(outcome))
        except OSError as error:
            print_warning(f"can't write to the file in GITHUB_STEP_SUMMARY: {error.strerror or error}")


def print_outcome(outcome: "CheckOutcome", console: Console) -> None:
    """Print each rule with its figure, the reasons of broken rules, and the result."""
    title = f"{one_line(outcome.label)}: {format_count(outcome.calls, 'call')}, {outcome.completeness}"
    print_text(console, Text(title, style="bold"))
    columns = [
        Column("Rule", flexible=True),
        Column("Figure", is_number=True),
        Column("n", is_number=True),
        Column("Baseline", is_number=True),
        Column("Verdict"),
    ]
    console.print(table(columns, list(map(_row, outcome.results))))
    for result in outcome.broken:
        print_text(console, Text(one_line(f"{result.rule}: {result.reason}"), style="red"))
    for reason in outcome.reasons:
        print_text(console, Text(one_line(f"{outcome.completeness}: {reason}"), style="yellow"))
    print_text(console, Text(verdict_words(outcome), style="bold green" if outcome.passed else "bold red"))


def _row(result: "RuleResult") -> list[Text]:
    verdict = Text("holds", "green") if result.passed else Text("broken", "red")
    numbers = [format_figure(result.value), f"{result.n:,}", format_figure(result.baseline)]
    return [Text(one_line(str(result.rule))), *(Text(number or "") for number in numbers), verdict]
