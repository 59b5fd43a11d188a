"""The command `sync` and its options."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import attrs
from cyclopts import Group, Parameter
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

import futureagi_async as sdk
from futureagi_async.cli.connection import (
    Connection,
    Limits,
    MaxOutage,
    ProviderData,
    Quiet,
    Transcripts,
    connect,
    find_sources,
)
from futureagi_async.cli.formatting import format_count, one_line, short_name
from futureagi_async.cli.messages import UsageError, in_shell_words, not_found_message, usage_errors
from futureagi_async.cli.running import ExitCode, StoppedBySignalError, failure_code, run_async
from futureagi_async.cli.sources import SourceOptions, lists_or_samples, name_sources
from futureagi_async.cli.streams import open_stderr, print_error, print_text, write_json
from futureagi_async.cli.summary import print_missing, verdict_mark

if TYPE_CHECKING:
    from futureagi_async.cli.display import Display
    from futureagi_async.cli.progress import Progress

SYNC_EPILOGUE = """\
Examples:
  futureagi-async sync --demo calls.duckdb
  futureagi-async sync calls.duckdb --sources sources.toml --quiet
  futureagi-async sync delta+s3://lake/calls --all

The tables are calls, evaluations, sources and syncs. If a full read no longer
  finds a call, it sets deleted_at. sync never removes rows.

After an interruption, the database has all changes of the sync or none. Run
  the same command again: it continues.

Exit codes: 0 complete; 3 synced, but something is missing (stderr has the
  reason); 1 failed; 2 wrong arguments; 130 interrupted.
"""

SYNCING = Group("Database", sort_key=2)
_FILES: Final = 30  # open at once: the files of an export, the database, part files being read
_NEVER: Final = "never"


@Parameter(name="*", group=SYNCING)
@attrs.define(frozen=True, kw_only=True)
class SyncOptions:
    """Options that say what is stored, and what is printed."""

    full_every: Annotated[
        str,
        Parameter(
            metavar="TIME",
            show_default=True,
            help="How often to read a list in full: 12h, 30d, 4w, 0d (each time) or never. Only a full read "
            "finds deleted calls.",
        ),
    ] = "30d"
    transcripts: Transcripts = False
    include_provider_data: ProviderData = False
    quiet: Quiet = False
    json: Annotated[bool, Parameter(help="Print a report to stdout as one JSON object.")] = False

    @property
    def full_read_after(self) -> timedelta | None:
        """The time after which a list is read in full. Raises `UsageError` for an invalid time."""
        text = self.full_every.strip()
        if text == _NEVER:
            return None
        try:
            length = sdk.parse_since(text)
        except ValueError:
            length = None
        if not isinstance(length, timedelta):
            raise UsageError(f"--full-every must be a time such as 12h, 30d or 4w, or never, not {text!r}.")
        return length


def sync(
    database: Annotated[
        str,
        Parameter(
            name="DATABASE",
            allow_leading_hyphen=True,
            group=SYNCING,
            help="A DuckDB file (its name ends in .duckdb, .ddb or .db), or Delta tables in a directory "
            "(delta://PATH) or in an object store (delta+s3://BUCKET/PATH).",
        ),
    ],
    /,
    *,
    lists: SourceOptions = SourceOptions(),  # noqa: B008 - frozen
    options: SyncOptions = SyncOptions(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
    max_outage: MaxOutage = 900,
) -> int:
    """Update a database with new and changed calls.

    It reads only the calls that changed since the last sync, and merges them in
    one transaction. Run it as often as you like, for example with cron.
    """
    from futureagi_async.cli.display import make_display
    from futureagi_async.cli.progress import Progress

    full_every = options.full_read_after
    with connect(connection) as endpoint:
        sources = find_sources(endpoint, name_sources(lists_or_samples(lists, endpoint.stand_in)), limits)
        progress = Progress(sources)
        display = make_display(progress, open_stderr(), quiet=options.quiet)
        session = endpoint.session(
            observers=(progress.observe, display.on_event),
            max_in_flight=limits.max_in_flight,
            max_requests_per_minute=limits.max_requests_per_minute,
            files=_FILES,
        )

        def advance(news: "sdk.ExportProgress") -> None:
            progress.write(news)
            display.advance()

        synced = partial(
            sdk.sync_calls,
            session,
            sources,
            database,
            full_every=full_every,
            transcripts=options.transcripts,
            include_provider_data=options.include_provider_data,
            page_size=limits.page_size,
            max_outage=max_outage,
            on_progress=advance,
        )
        try:
            report = run_async(partial(_show_while, display, session, synced))
        except StoppedBySignalError:
            raise StoppedBySignalError(_kept(progress)) from None
        except sdk.FutureAGIError as error:
            is_unknown = isinstance(error, sdk.NotFoundError)
            print_error(not_found_message(error) if is_unknown else in_shell_words(str(error)))
            return failure_code(error)
    _conclude(report, options)
    return ExitCode.DONE if report.complete else ExitCode.INCOMPLETE


async def _show_while(
    display: "Display", session: "sdk.Session", synced: "Callable[[], Awaitable[sdk.SyncReport]]"
) -> "sdk.SyncReport":
    async with session:
        with usage_errors(), display:
            return await synced()


def _kept(progress: "Progress") -> str:
    if not progress.stages["reading"].records:
        return "the database is unchanged."
    return "the database is unchanged; run the same command again to continue."


def _conclude(report: "sdk.SyncReport", options: SyncOptions) -> None:
    """Print the result to stderr, and with ``--json`` the whole report to stdout."""
    console = open_stderr()
    if not options.quiet:
        _print_sources(report, console)
    print_missing([each.read for each in report.sources], report.transcript_failures, console)
    if not options.quiet:
        print_text(console, Text(_result(report), style="bold"))
    if options.json:
        write_json(report.to_json())


def _print_sources(report: "sdk.SyncReport", console: Console) -> None:
    names = [short_name(each.source) for each in report.sources]
    width = max(map(cell_len, names), default=0)
    for each, name in zip(report.sources, names, strict=True):
        gap = " " * (width - cell_len(name))
        how = "in full" if each.mode == "full" else "changes"
        line = Text.assemble(verdict_mark(each.read, console), f" {name}{gap}  {how}: {_changes(each)}")
        print_text(console, line)
    if others := report.no_longer_named:
        lists, verb = format_count(len(others), "list"), "is" if len(others) == 1 else "are"
        print_text(
            console,
            Text(f"{lists} of earlier syncs {verb} not named in this sync; the rows are unchanged."),
        )
    if report.recovered is not None:
        print_text(console, Text("First merged the calls that an interrupted sync had read."))


def _changes(of: "sdk.SourceSync | sdk.SyncReport") -> str:
    """Return what changed in the database."""
    counts = {"new": of.inserted, "newer": of.updated, "deleted": of.deleted, "older, ignored": of.older}
    return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count) or "nothing new"


def _result(report: "sdk.SyncReport") -> str:
    verdict = "complete" if report.complete else "incomplete"
    return f"Synced {one_line(report.database)}: {_changes(report)}; {verdict}."
