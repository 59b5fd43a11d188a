"""The command `export` and its options."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import Group, Parameter

from futureagi_async import CallSource, FutureAGIError, Session
from futureagi_async.cli.connection import AT_LEAST_ONE, Connection, Limits, MaxOutage, connect
from futureagi_async.cli.display import Display, make_display
from futureagi_async.cli.formatting import format_count
from futureagi_async.cli.progress import Progress
from futureagi_async.cli.running import (
    ExitCode,
    StoppedBySignalError,
    open_stderr,
    print_error,
    run_async,
    usage_errors,
    write_json,
)
from futureagi_async.cli.sources import SourceOptions, lists_or_samples, name_sources
from futureagi_async.cli.summary import print_reasons, print_summary, summary_json
from futureagi_async.export import ExportProgress, ExportReport, OnProgress, export_calls

OUTPUT = Group("Output", sort_key=2)


@Parameter(name="*", group=OUTPUT)
@attrs.define(frozen=True, kw_only=True)
class OutputOptions:
    """Options on what is written where."""

    output: Annotated[
        Path,
        Parameter(
            name=("--output", "-o"),
            metavar="PATH",
            help="A file ending in .jsonl, .csv (also with .gz or .zst behind it) or .parquet; anything "
            "else is a directory of parts with a manifest.",
        ),
    ]
    format: Annotated[
        Literal["jsonl", "csv", "parquet"] | None,
        Parameter(help="Default: what the file's ending says, jsonl for a directory."),
    ] = None
    transcripts: Annotated[
        bool,
        Parameter(help="Also fetch transcripts that a list withholds: a request for each such call."),
    ] = False
    recordings: Annotated[
        Path | None, Parameter(metavar="DIR", help="Download the calls' audio into this directory.")
    ] = None
    allow_private_hosts: Annotated[
        bool, Parameter(help="Let --recordings connect to private and loopback addresses.")
    ] = False
    since_manifest: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Only what changed since the export with this manifest.json."),
    ] = None
    restart: Annotated[
        bool,
        Parameter(
            help="Begin anew instead of going on with an unfinished export, or replace a finished one."
        ),
    ] = False
    ordered: Annotated[
        bool, Parameter(help="By list, newest first: the same bytes whatever arrives first.")
    ] = False
    normalised: Annotated[
        bool, Parameter(help="JSON Lines in documented names and units, not as the server sent them.")
    ] = False
    part_rows: Annotated[
        int,
        Parameter(
            metavar="N", validator=AT_LEAST_ONE, show_default=True, help="Calls a part of a directory."
        ),
    ] = 50_000
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


EXPORT_EPILOGUE = """\
Examples:
  futureagi-async export --demo -o calls.jsonl
  futureagi-async export --run-test 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed \\
      --agent-version @versions.txt --transcripts -o calls.parquet
  futureagi-async export --sources sources.toml --set nightly \\
      -o 2026-01-31/ --quiet --json > summary.json

Interrupted by Ctrl-C, a crash or a power cut? The same command goes on where
  it was. A file or a manifest appears under its name only when it is whole.

Keys: FI_API_KEY and FI_SECRET_KEY in the environment. They are not taken from
  the command line, where everybody on this machine could see them (ps).

Exit codes: 0 everything is there; 3 written, but something is missing, and
  the reason told (a list is incomplete, a transcript or a recording failed);
  1 failed, 2 wrong arguments, 130 interrupted.
"""

_GO_ON = "the same command again goes on from there."


def export(
    *,
    lists: SourceOptions = SourceOptions(),  # noqa: B008 - frozen
    output: OutputOptions,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
    max_outage: MaxOutage = 900,
) -> int:
    """Write all calls of run tests, agent versions and test executions into files.

    All lists are read at once, and of each you are told whether it is provably
    complete. Run again after an interruption, the same command goes on.
    """
    with connect(connection) as endpoint:
        sources = name_sources(lists_or_samples(lists, endpoint.stand_in))
        progress = Progress(sources)
        display = make_display(progress, open_stderr(), quiet=output.quiet)
        session = endpoint.session(
            observers=(progress.observe, display.on_event),
            max_in_flight=limits.max_in_flight,
            max_requests_per_minute=limits.max_requests_per_minute,
        )

        def advance(news: ExportProgress) -> None:
            progress.write(news)
            display.advance()

        write = _writer(
            session,
            sources,
            output,
            page_size=limits.page_size,
            max_outage=max_outage,
            on_progress=advance,
        )
        try:
            report = run_async(partial(_show_while, display, session, write))
        except StoppedBySignalError:
            raise StoppedBySignalError(_kept(progress) or "nothing new was written.") from None
        except FutureAGIError as error:
            print_error(" ".join(filter(None, (str(error), _kept(progress)))))
            return ExitCode.FAILED
    return _conclude(report, output)


def _writer(
    session: Session,
    sources: list[CallSource],
    output: OutputOptions,
    *,
    page_size: int,
    max_outage: float,
    on_progress: OnProgress,
) -> Callable[[], Awaitable[ExportReport]]:
    return partial(
        export_calls,
        session,
        sources,
        output.output,
        format=output.format,
        transcripts=output.transcripts,
        resume=not output.restart,
        ordered=output.ordered,
        normalised=output.normalised,
        part_rows=output.part_rows,
        page_size=page_size,
        include_provider_data=output.include_provider_data,
        since=output.since_manifest,
        recordings=output.recordings,
        allow_private_hosts=output.allow_private_hosts,
        max_outage=max_outage,
        on_progress=on_progress,
    )


async def _show_while(
    display: Display, session: Session, write: Callable[[], Awaitable[ExportReport]]
) -> ExportReport:
    async with session:
        with usage_errors(), display:
            return await write()


def _kept(progress: Progress) -> str:
    """Say how to go on, where there is something to go on from."""
    kept = progress.stages["reading"].records
    return f"{format_count(kept, 'record')} {'is' if kept == 1 else 'are'} kept: {_GO_ON}" if kept else ""


def _conclude(report: ExportReport, output: OutputOptions) -> int:
    (print_reasons if output.quiet else print_summary)(report, open_stderr())
    if output.json:
        write_json(summary_json(report))
    return ExitCode.DONE if report.complete else ExitCode.INCOMPLETE
