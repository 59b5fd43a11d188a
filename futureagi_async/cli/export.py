"""The command that writes the calls of many lists into a file."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import Number

from futureagi_async import Session
from futureagi_async.cli.connecting import CONNECTION, Connection, Place, connect
from futureagi_async.cli.naming import Lists, name_sources, sample_lists
from futureagi_async.cli.progress import Display, make_display
from futureagi_async.cli.running import (
    ExitCode,
    StoppedError,
    open_stderr,
    run_async,
    usage_errors,
    write_json,
)
from futureagi_async.cli.summary import print_reasons, print_summary, summary_json
from futureagi_async.cli.tally import Tally
from futureagi_async.export import ExportReport, export_calls

EXPORT_EPILOGUE = """\
Examples:
  futureagi-async export --demo -o calls.jsonl
  futureagi-async export --run-test 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed \\
      --agent-version @versions.txt -o calls.jsonl
  futureagi-async export --run-test @runs.txt --status completed \\
      -o completed.jsonl --quiet --json > summary.json

Keys: FI_API_KEY and FI_SECRET_KEY in the environment. They are not taken from
  the command line, where everybody on this machine could see them (ps).

Exit codes: 0 every list is complete; 3 some list is incomplete, the file is
  written and the reason told; 1 failed, 2 wrong arguments, 130 interrupted:
  nothing is written.
"""

OUTPUT = Group("Output", sort_key=2)
_AT_LEAST_ONE = Number(gte=1)
_PAGE_SIZE = Number(gte=1, lte=1_000_000)


def _check_output(_type: object, path: Path) -> None:
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        raise ValueError("It must be a file ending in .jsonl.")


@Parameter(name="*", group=OUTPUT)
@attrs.define(frozen=True, kw_only=True)
class Output:
    """Options on what is written where."""

    output: Annotated[
        Path,
        Parameter(
            name=("--output", "-o"),
            metavar="FILE",
            validator=_check_output,
            help="The file to write, ending in .jsonl.",
        ),
    ]
    include_provider_data: Annotated[
        bool,
        Parameter(
            help="Keep call_metadata and provider_call_data of agent versions' calls, which may hold "
            "other parties' keys."
        ),
    ] = False
    quiet: Annotated[
        bool, Parameter(name=("--quiet", "-q"), help="Print only errors, and why a list is incomplete.")
    ] = False
    json: Annotated[bool, Parameter(help="Print a summary on stdout as one JSON object.")] = False


@Parameter(name="*", group=CONNECTION)
@attrs.define(frozen=True, kw_only=True)
class Pace:
    """Options on how much to ask for at once."""

    page_size: Annotated[
        int,
        Parameter(metavar="N", validator=_PAGE_SIZE, show_default=True, help="Calls a request."),
    ] = 100
    max_in_flight: Annotated[
        int,
        Parameter(metavar="N", validator=_AT_LEAST_ONE, show_default=True, help="Requests at once."),
    ] = 16
    max_requests_per_minute: Annotated[
        int | None, Parameter(metavar="N", validator=_AT_LEAST_ONE, help="Default: no limit.")
    ] = None


def export(
    *,
    lists: Lists = Lists(),  # noqa: B008 - frozen
    output: Output,
    pace: Pace = Pace(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Write all calls of run tests, agent versions and test executions into a file.

    All lists are read at once, and of each you are told whether it is provably
    complete. The file holds each call's JSON as the server sent it, one a line;
    it appears when everything was read, and replaces a file of that name.
    """
    with connect(connection) as place:
        sources = name_sources(_lists_or_samples(lists, place))
        tally = Tally(sources)
        display = make_display(tally, open_stderr(), quiet=output.quiet)
        session = place.session(
            observers=(tally.observe, display.tell),
            max_in_flight=pace.max_in_flight,
            max_requests_per_minute=pace.max_requests_per_minute,
        )
        write = partial(
            export_calls,
            session,
            sources,
            output.output,
            page_size=pace.page_size,
            include_provider_data=output.include_provider_data,
            on_progress=tally.write,
        )
        try:
            report = run_async(partial(_show_while, display, session, write))
        except StoppedError:
            raise StoppedError("nothing was written, and nothing is left behind.") from None
    return _conclude(report, output)


def _lists_or_samples(lists: Lists, place: Place) -> Lists:
    return lists if lists.named or place.stand_in is None else sample_lists(lists, place.stand_in)


async def _show_while(
    display: Display, session: Session, write: Callable[[], Awaitable[ExportReport]]
) -> ExportReport:
    async with session:
        with usage_errors(), display:
            return await write()


def _conclude(report: ExportReport, output: Output) -> int:
    (print_reasons if output.quiet else print_summary)(report, open_stderr())
    if output.json:
        write_json(summary_json(report))
    return ExitCode.DONE if report.complete else ExitCode.INCOMPLETE
