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
from futureagi_async.cli.messages import UsageError, in_shell_words, usage_errors
from futureagi_async.cli.running import ExitCode, StoppedBySignalError, run_async
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

The tables are calls, evaluations, sources and syncs. A full read marks calls
  that are no longer in their list (deleted_at). Rows are never removed.

Interrupted? The database is as before or as after. The same command continues.

Exit codes: 0 everything is there; 3 synced, but something is missing, and
  stderr says why; 1 failed; 2 wrong arguments; 130 interrupted.
"""

SYNCING = Group("Database", sort_key=2)
_FILES: Final = 30  # open at once: those of an export, the database, parts being read
_NEVER: Final = "never"


@Parameter(name="*", group=SYNCING)
@attrs.define(frozen=True, kw_only=True)
class SyncOptions:
    """Options on what is kept, and what is printed."""

    full_every: Annotated[
        str,
        Parameter(
            metavar="TIME",
            show_default=True,
            help="How often to read a list in full: 12h, 30d, 4w, 0d for each "
            "time, or never. Only a full read "
            "shows what was deleted.",
        ),
    ] = "30d"
    transcripts: Transcripts = False
    include_provider_data: ProviderData = False
    quiet: Quiet = False
    json: Annotated[bool, Parameter(help="Print a report on stdout as one JSON object.")] = False

    @property
    def full_read_after(self) -> timedelta | None:
        """After how long a list is read in full; `UsageError` for what is no length of time."""
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
            help="A DuckDB file that ends in .duckdb or .db; or Delta tables "
            "in a directory (delta://PATH) or "
            "in an object store (delta+s3://BUCKET/PATH).",
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
    """Bring a database up to date with the calls of lists.

    It reads only what changed since the last sync, and merges it in one
    transaction. Run it as often as you like, for example with cron.
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
            print_error(in_shell_words(str(error)))
            return ExitCode.FAILED
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
        return "the database is as it was."
    return "the database is unchanged; run the same command again to continue."


def _conclude(report: "sdk.SyncReport", options: SyncOptions) -> None:
    """Tell people how it ended, and programs the whole report."""
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
        lists = format_count(len(others), "list")
        print_text(console, Text(f"{lists} of earlier syncs not named any more: kept as they are."))
    if report.recovered is not None:
        print_text(console, Text("What an interrupted sync had read was merged first."))


def _changes(of: "sdk.SourceSync | sdk.SyncReport") -> str:
    """Say what changed in the database."""
    counts = {"new": of.inserted, "newer": of.updated, "deleted": of.deleted, "older, not taken": of.older}
    return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count) or "nothing new"


def _result(report: "sdk.SyncReport") -> str:
    verdict = "complete" if report.complete else "incomplete"
    return f"Synced {one_line(report.database)}: {_changes(report)}; {verdict}."
