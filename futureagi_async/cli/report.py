"""The command `report`: writes a page about calls, or about their differences from earlier calls."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import futureagi_async as sdk
from futureagi_async.cli.connection import Connection, Endpoint, Limits, connect, read_one
from futureagi_async.cli.formatting import format_count, shown_path
from futureagi_async.cli.messages import UsageError
from futureagi_async.cli.running import ExitCode
from futureagi_async.cli.streams import print_notice, print_warning
from futureagi_async.cli.summaries import Subject, needed_libraries, parse_subject, read_subject

if TYPE_CHECKING:
    from futureagi_async.analysis import Comparison, Summary

REPORT_EPILOGUE = """\
Examples:
  futureagi-async report --demo
  futureagi-async report latest:"Checkout flow" -o checkout.html
  futureagi-async report "Support bot:v4" --against "Support bot:v3"
  futureagi-async report this-week --against last-week --png slides

You can name a run (A or B) in these ways:
  the id of a test execution or of a run test, the name of a run test,
  latest:RUN, AGENT:VERSION, or the directory of an export.

The page is one file and loads no other files. It includes the transcripts of
  the calls to look at.

Exit codes: 0 all lists are complete; 3 written, but something is missing (the
  page says what); 1 failed; 2 wrong arguments; 130 interrupted.
"""


def report(
    subject: Annotated[str | None, Parameter(metavar="A", help="The run to report on: A. See below.")] = None,
    /,
    *,
    against: Annotated[str | None, Parameter(metavar="B", help="The earlier run to compare with.")] = None,
    output: Annotated[
        Path,
        Parameter(name=("--output", "-o"), metavar="FILE", show_default=True, help="The HTML file to write."),
    ] = Path("report.html"),
    png: Annotated[
        Path | None, Parameter(metavar="DIR", help="Also write each chart as an image, for slides.")
    ] = None,
    title: Annotated[str | None, Parameter(metavar="TEXT", help="The heading of the page.")] = None,
    no_transcripts: Annotated[
        bool, Parameter(help="Leave out transcripts, reasons and links to recordings.")
    ] = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Write an HTML report with charts about a run, or about two runs compared."""
    _check_places(output, png)
    later = None if subject is None else parse_subject(subject, "A")
    earlier = None if against is None else parse_subject(against, "--against")
    with needed_libraries():
        from futureagi_async.analysis import calls_in_report, check_report_installed, compare, write_report

        check_report_installed()
    with connect(connection) as endpoint:
        later, earlier = _choose(later, earlier, endpoint)
        before = None if earlier is None else read_subject(earlier, endpoint, limits)
        after = read_subject(later, endpoint, limits)
        found: Summary | Comparison = after if before is None else compare(before, after)
        details: Path | Sequence[sdk.CallExecution] = ()
        if not no_transcripts:
            wanted = [each.call_id for each in calls_in_report(found)]
            details = later.export or _read_details(wanted, endpoint)
    write_report(output, found, calls=details, title=title, png=png)
    verdicts = [summary.verdict.completeness for summary in (before, after) if summary is not None]
    worst = (
        "incomplete"
        if "incomplete" in verdicts
        else "complete"
        if set(verdicts) == {"complete"}
        else "unknown"
    )
    print_notice(f"Wrote {shown_path(output)}: {format_count(after.calls, 'call')}, {worst}.")
    return ExitCode.INCOMPLETE if worst == "incomplete" else ExitCode.DONE


def _check_places(output: Path, png: Path | None) -> None:
    if output.is_dir() or not output.parent.is_dir():
        raise UsageError(f"--output must name a file in a directory that exists, not {shown_path(output)}.")
    if png is not None and png.exists() and not png.is_dir():
        raise UsageError(f"--png must name a directory, not {shown_path(png)}.")


def _choose(
    later: Subject | None, earlier: Subject | None, endpoint: Endpoint
) -> tuple[Subject, Subject | None]:
    """Return the runs to report on: those given, else agent versions of the sample data."""
    if later is not None:
        return later, earlier
    if endpoint.stand_in is None:
        raise UsageError(
            'Name the run to report on. For example: futureagi-async report latest:"Checkout flow".'
        )
    (agent_id, first), (_, second), *_ = endpoint.stand_in.agent_versions
    return (
        parse_subject(f"{agent_id}:{second}", "A"),
        earlier or parse_subject(f"{agent_id}:{first}", "--against"),
    )


def _read_details(ids: Sequence[str], endpoint: Endpoint) -> "Sequence[sdk.CallExecution]":
    """Return the calls to look at, with details. Warns about calls that can't be read, and omits them."""
    if not ids:
        return ()
    outcomes = read_one(endpoint, lambda session: session.fetch_call_executions(ids))
    found = [outcome.value for outcome in outcomes if outcome.value is not None]
    if missing := len(outcomes) - len(found):
        first = next(outcome.error for outcome in outcomes if outcome.error is not None)
        print_warning(f"the details of {format_count(missing, 'call')} can't be read: {first}")
    return found
