"""The command `export` and its options."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import attrs
from cyclopts import Group, Parameter

import futureagi_async as sdk
from futureagi_async.cli.clusters import ClusterOptions, check_fits, export_by_ray
from futureagi_async.cli.connection import (
    AT_LEAST_ONE,
    Connection,
    Limits,
    MaxOutage,
    ProviderData,
    Quiet,
    Transcripts,
    connect,
    find_sources,
)
from futureagi_async.cli.formatting import format_count, shown_path
from futureagi_async.cli.messages import WHERE_IDS_ARE, UsageError, in_shell_words, usage_errors
from futureagi_async.cli.running import ExitCode, StoppedBySignalError, run_async
from futureagi_async.cli.sources import SourceOptions, lists_or_samples, name_sources
from futureagi_async.cli.streams import OutputError, copy_to_stdout, open_stderr, print_error, write_json
from futureagi_async.cli.summary import print_reasons, print_summary, summary_json

if TYPE_CHECKING:
    from futureagi_async.cli.display import Display
    from futureagi_async.cli.progress import Progress

OUTPUT = Group("Output", sort_key=2)


@Parameter(name="*", group=OUTPUT)
@attrs.define(frozen=True, kw_only=True)
class OutputOptions:
    """Options on what is written where."""

    output: Annotated[
        str,
        Parameter(
            name=("--output", "-o"),
            metavar="PATH",
            allow_leading_hyphen=True,
            help="A file that ends in .jsonl, .csv (also .gz, .zst) or "
            ".parquet. Any other name, or a slash at "
            "the end, is a directory for parts and a manifest. Also s3://bucket/prefix/, gs://, az://, or "
            "- for the standard output.",
        ),
    ]
    format: Annotated[
        Literal["jsonl", "csv", "parquet"] | None,
        Parameter(help="Default: by the ending of the file; jsonl for a directory."),
    ] = None
    transcripts: Transcripts = False
    recordings: Annotated[
        str | None, Parameter(metavar="DIR", help="Download the calls' audio into this directory.")
    ] = None
    allow_private_hosts: Annotated[
        bool, Parameter(help="Let --recordings connect to private and loopback addresses.")
    ] = False
    since_manifest: Annotated[
        str | None,
        Parameter(metavar="FILE", help="Read only what changed since the export with this _manifest.json."),
    ] = None
    work_dir: Annotated[
        str | None,
        Parameter(
            metavar="DIR",
            help="Where to keep unfinished exports into buckets. Default: your cache directory.",
        ),
    ] = None
    restart: Annotated[
        bool,
        Parameter(help="Don't continue an unfinished export: begin anew, and replace a finished one."),
    ] = False
    force: Annotated[
        bool,
        Parameter(help="Also replace files that no export wrote, or that were changed since."),
    ] = False
    ordered: Annotated[
        bool, Parameter(help="Sort by list, then newest first. Unchanged lists then give the same bytes.")
    ] = False
    normalised: Annotated[
        bool, Parameter(help="Write JSON Lines in documented names and units, not as the server sent them.")
    ] = False
    columns: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="NAMES",
            help="Write only these columns, separated by commas. Not for JSON Lines as sent.",
        ),
    ] = ()
    drop: Annotated[
        tuple[str, ...],
        Parameter(metavar="NAMES", help="Leave these columns out, with everything in them."),
    ] = ()
    redact: Annotated[
        bool,
        Parameter(
            help="Replace phone numbers and customers' names by digests that can still be joined. The key is "
            "FI_REDACT_KEY in the environment."
        ),
    ] = False
    partition: Annotated[
        Literal["source", "date"] | None,
        Parameter(help="Put the parts of a directory into Hive folders, by list or by day."),
    ] = None
    part_rows: Annotated[
        int,
        Parameter(
            metavar="N", validator=AT_LEAST_ONE, show_default=True, help="Calls in each part of a directory."
        ),
    ] = 50_000
    include_provider_data: ProviderData = False
    quiet: Quiet = False
    verbose: Annotated[
        bool,
        Parameter(
            name=("--verbose", "-v"), help="Also print how each list was read, and why it is complete."
        ),
    ] = False
    json: Annotated[bool, Parameter(help="Print a summary on stdout as one JSON object.")] = False

    @property
    def to_stdout(self) -> bool:
        """Whether the records themselves are printed."""
        return self.output in _STDOUT


EXPORT_EPILOGUE = """\
Examples:
  futureagi-async export --demo -o calls.jsonl
  futureagi-async export --run-test 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed \\
      --agent-version @versions.txt --transcripts -o calls.parquet
  futureagi-async export --sources sources.toml --set nightly \\
      -o 2026-01-31/ --quiet --json > summary.json
  futureagi-async export --run-test ID --quiet -o - | jq .overall_score
  futureagi-async export --run-test ID --format parquet --partition date \\
      --drop transcript,call_summary --redact -o lake/
  futureagi-async export --all --ray --fetchers 4 \\
      --max-requests-per-minute 600 --format parquet -o s3://lake/2026-01-31/

Interrupted by Ctrl-C, a crash or a power cut? The same command continues.
  A file or a manifest appears under its name only when it is whole.

With -o -, everything is first read into a temporary file (TMPDIR). Then each
  call is printed once, in its newest version. If something is missing, the
  rest is printed, the reason is on stderr, and the exit code is 3.

Nothing is overwritten that no export wrote, or that was changed since one did:
  a file, a symbolic link, or files in a directory. --force overwrites them.

Keys: set FI_API_KEY and FI_SECRET_KEY in the environment, and FI_REDACT_KEY for
  --redact. There are no options for them, because other users of this machine
  can see the command line (ps).

Exit codes: 0 everything is there; 3 written, but something is missing (a list
  is incomplete, a transcript or a recording failed), and stderr says why;
  1 failed; 2 wrong arguments; 130 interrupted.
"""

_STDOUT: Final = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_FILES: Final = 11  # open at once: standard streams, the event loop, the lock, the index, its log, and a part
_FILES_OF_TABLES: Final = 4  # more where SQLite sorts, or details and several parts are open
_FILES_OF_RECORDINGS: Final = 8
_GO_ON: Final = "run the same command again to continue."


def export(
    *,
    lists: SourceOptions = SourceOptions(),  # noqa: B008 - frozen
    output: OutputOptions,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
    cluster: ClusterOptions = ClusterOptions(),  # noqa: B008 - frozen
    max_outage: MaxOutage = 900,
) -> int:
    """Write all calls of run tests, agent versions and test executions into files.

    All lists are read at once. For each list you are told whether it is provably
    complete. After an interruption, run the same command again: it continues.
    """
    from futureagi_async.cli.display import make_display
    from futureagi_async.cli.progress import Progress

    _check_fits(output)
    with connect(connection) as endpoint, _open_target(output) as target:
        check_fits(cluster, endpoint, limits, _not_shared(output))
        sources = find_sources(endpoint, name_sources(lists_or_samples(lists, endpoint.stand_in)), limits)
        progress = Progress(sources)
        display = make_display(progress, open_stderr(), quiet=output.quiet)

        def advance(news: "sdk.ExportProgress") -> None:
            progress.write(news)
            display.advance()

        options = {**_options_of(output), "max_outage": max_outage, "on_progress": advance}
        observers = (progress.observe, display.on_event)
        try:
            if cluster.by_ray:
                options |= {"format": output.format or "jsonl", "observers": observers}
                with usage_errors(), display:
                    report = export_by_ray(endpoint, sources, target, cluster, limits, options)
            else:
                session = endpoint.session(
                    observers=observers,
                    max_in_flight=limits.max_in_flight,
                    max_requests_per_minute=limits.max_requests_per_minute,
                    files=_files_of(output),
                )
                write = _writer(session, sources, target, output, limits.page_size, options)
                report = run_async(partial(_show_while, display, session, write))
        except StoppedBySignalError:
            raise StoppedBySignalError(_kept(progress, output) or "nothing new was written.") from None
        except sdk.FutureAGIError as error:
            print_error(_failure(error, progress, output))
            return ExitCode.FAILED
        _conclude(report, output)
    return ExitCode.DONE if report.complete else ExitCode.INCOMPLETE


def _check_fits(output: OutputOptions) -> None:
    """Raise `UsageError` for options that contradict each other."""
    if output.output.startswith("-") and not output.to_stdout:
        raise UsageError(
            f"-o needs a path behind it, not {output.output!r}. Begin it with ./ where a name begins so."
        )
    if output.quiet and output.verbose:
        raise UsageError("--quiet and --verbose exclude each other: leave one out.")
    if not output.to_stdout:
        return
    if output.json:
        raise UsageError("--json prints on the standard output, and so does -o -: leave one out.")
    if output.format == "parquet":
        raise UsageError("--format parquet needs a file: on the standard output there is jsonl or csv.")


def _files_of(output: OutputOptions) -> int:
    """Return how many files an export has open at once, beside connections."""
    name = output.output.removesuffix(".gz").removesuffix(".zst")
    is_plain = output.to_stdout or name.endswith((".jsonl", ".ndjson", ".csv"))
    tables = output.ordered or output.transcripts or not is_plain
    return _FILES + tables * _FILES_OF_TABLES + (output.recordings is not None) * _FILES_OF_RECORDINGS


@contextmanager
def _open_target(output: OutputOptions) -> Iterator[str]:
    """Give what to export into: for the standard output a temporary file, since only the end is certain."""
    from tempfile import TemporaryDirectory

    if not output.to_stdout:
        yield output.output
        return
    try:
        temporary = TemporaryDirectory(prefix="futureagi-async-")
    except OSError as error:
        raise sdk.ExportError(_no_room(error)) from error
    with temporary as folder:
        yield str(Path(folder, f"calls.{output.format or 'jsonl'}"))


def _no_room(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"Can't write a temporary file: {reason}. TMPDIR can name a directory with room."


def _writer(
    session: "sdk.Session",
    sources: "list[sdk.CallSource]",
    target: str,
    output: OutputOptions,
    page_size: int,
    options: "Mapping[str, Any]",
) -> "Callable[[], Awaitable[sdk.ExportReport]]":
    return partial(
        sdk.export_calls,
        session,
        sources,
        target,
        format=output.format,
        resume=not output.restart,
        recordings=output.recordings,
        allow_private_hosts=output.allow_private_hosts,
        page_size=page_size,
        **options,
    )


def _options_of(output: OutputOptions) -> "dict[str, Any]":
    """Return the arguments that an export takes here and by many machines."""
    return {
        "transcripts": output.transcripts,
        "overwrite": output.force,
        "ordered": output.ordered,
        "normalised": output.normalised,
        "columns": _names(output.columns) or None,
        "drop": _names(output.drop),
        "redact": output.redact,
        "partition": output.partition,
        "part_rows": output.part_rows,
        "include_provider_data": output.include_provider_data,
        "since": output.since_manifest,
        "work_dir": output.work_dir,
    }


def _not_shared(output: OutputOptions) -> dict[str, bool]:
    """Return the options that an export by many machines does not have, and whether they are given."""
    return {
        "-o -": output.to_stdout,
        "--restart": output.restart,
        "--recordings": output.recordings is not None,
        "--allow-private-hosts": output.allow_private_hosts,
    }


def _names(given: tuple[str, ...]) -> list[str]:
    """Return names that were given with commas between them, or one after the other."""
    return [name for some in given for each in some.split(",") if (name := each.strip())]


async def _show_while(
    display: "Display", session: "sdk.Session", write: "Callable[[], Awaitable[sdk.ExportReport]]"
) -> "sdk.ExportReport":
    async with session:
        with usage_errors(), display:
            return await write()


def _failure(error: "sdk.FutureAGIError", progress: "Progress", output: OutputOptions) -> str:
    """Say what ended an export, and how to go on."""
    import sqlite3

    if isinstance(error, sdk.NotFoundError):
        return f"{error} {WHERE_IDS_ARE}"
    if isinstance(error, sdk.ExportError):
        cause = error.__cause__
        disk = cause.__cause__ if isinstance(cause, sdk.ExportError) else cause
        if output.to_stdout and isinstance(disk, OSError | sqlite3.Error):
            return _no_room(disk)
        return in_shell_words(str(error))  # which says itself what is kept
    return " ".join(filter(None, (in_shell_words(str(error)), _kept(progress, output))))


def _kept(progress: "Progress", output: OutputOptions) -> str:
    """Say how to go on, where there is something to go on from."""
    kept = progress.stages["reading"].records
    if not kept or output.to_stdout:
        return ""
    return f"{format_count(kept, 'record')} {'is' if kept == 1 else 'are'} kept: {_GO_ON}"


def _conclude(report: "sdk.ExportReport", output: OutputOptions) -> None:
    """Print what belongs on the standard output, and tell people how it ended."""
    stderr = open_stderr()
    where = shown_path(report.path)
    if output.to_stdout:
        where = "the standard output"
        try:
            with Path(report.path).open("rb") as file:
                copy_to_stdout(file)
        except OutputError:
            print_reasons(report, stderr)
            raise
    if output.quiet:
        print_reasons(report, stderr)
    else:
        print_summary(report, where, stderr, verbose=output.verbose)
    if output.json:
        try:
            write_json(summary_json(report))
        except OutputError as error:
            more = f"{error} The export is finished all the same: {where}."
            raise OutputError(more, reader_left=error.reader_left) from error
