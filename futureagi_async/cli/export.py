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
from futureagi_async.cli.messages import UsageError, in_shell_words, not_found_message, usage_errors
from futureagi_async.cli.running import ExitCode, StoppedBySignalError, failure_code, run_async
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
    """Options that say what is written, and where."""

    output: Annotated[
        str,
        Parameter(
            name=("--output", "-o"),
            metavar="PATH",
            allow_leading_hyphen=True,
            help="Where to write. A name that ends in .jsonl, .csv (also with .gz or .zst) or .parquet is a "
            "file. Any other name is a directory; it gets part files and a manifest. "
            "s3://bucket/prefix/, gs:// and az:// write to a bucket. - writes to stdout.",
        ),
    ]
    format: Annotated[
        Literal["jsonl", "csv", "parquet"] | None,
        Parameter(help="The file format. Default: from the ending of the file name; jsonl for a directory."),
    ] = None
    transcripts: Transcripts = False
    recordings: Annotated[
        str | None, Parameter(metavar="DIR", help="Download the audio of the calls into this directory.")
    ] = None
    allow_private_hosts: Annotated[
        bool, Parameter(help="Let --recordings also download from private and loopback addresses.")
    ] = False
    since_manifest: Annotated[
        str | None,
        Parameter(
            metavar="FILE", help="Read only calls that changed since the export with this _manifest.json."
        ),
    ] = None
    work_dir: Annotated[
        str | None,
        Parameter(
            metavar="DIR",
            help="The directory for unfinished exports to buckets. Default: your cache directory.",
        ),
    ] = None
    restart: Annotated[
        bool,
        Parameter(help="Start again from the beginning. Replaces an unfinished or finished export."),
    ] = False
    force: Annotated[
        bool,
        Parameter(help="Also replace files that no export wrote, or that were changed after an export."),
    ] = False
    ordered: Annotated[
        bool,
        Parameter(help="Sort by list, then newest call first. Unchanged lists then give the same bytes."),
    ] = False
    normalised: Annotated[
        bool, Parameter(help="Write JSON Lines with documented names and units, not as the server sent them.")
    ] = False
    columns: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="NAMES",
            help="Write only these columns, separated by commas. For JSON Lines, add --normalised.",
        ),
    ] = ()
    drop: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="NAMES",
            help="Leave out these columns and all their values. For JSON Lines, add --normalised.",
        ),
    ] = ()
    redact: Annotated[
        bool,
        Parameter(
            help="Replace phone numbers and customers' names with keyed digests. The same number always has "
            "the same digest, so you can still join rows. Set the key in FI_REDACT_KEY."
        ),
    ] = False
    partition: Annotated[
        Literal["source", "date"] | None,
        Parameter(help="Put the part files of a directory into Hive folders, by list or by day."),
    ] = None
    part_rows: Annotated[
        int,
        Parameter(
            metavar="N",
            validator=AT_LEAST_ONE,
            show_default=True,
            help="Calls in each part file of a directory.",
        ),
    ] = 50_000
    include_provider_data: ProviderData = False
    quiet: Quiet = False
    verbose: Annotated[
        bool,
        Parameter(
            name=("--verbose", "-v"),
            help="Also print how each list was read, and the proof that it is complete.",
        ),
    ] = False
    json: Annotated[bool, Parameter(help="Print a summary to stdout as one JSON object.")] = False

    @property
    def to_stdout(self) -> bool:
        """Whether the records are printed to the standard output."""
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

After Ctrl-C, a crash or a power cut, run the same command again: it continues.
  A file or a manifest appears under its name only when it is whole.

With -o -, the export first goes to a temporary file (in TMPDIR). Then each call
  is printed once, in its newest version. If something is missing, the rest is
  printed, stderr has the reason, and the exit code is 3.

An export replaces only files that an export wrote and that are unchanged since.
  --force also replaces other files, and symbolic links.

Set the keys in the environment: FI_API_KEY and FI_SECRET_KEY, and FI_REDACT_KEY
  for --redact. There are no options for keys, because other users of this
  machine can see the command line (ps).

Exit codes: 0 complete; 3 written, but something is missing (stderr has the
  reason: an incomplete list, a failed transcript or recording); 1 failed;
  2 wrong arguments; 130 interrupted.
"""

_STDOUT: Final = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_FILES: Final = (
    11  # open at once: standard streams, the event loop, the lock, the index, its log, and a part file
)
_FILES_OF_TABLES: Final = 4  # more while SQLite sorts, or details and several part files are open
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
    """Export all calls of run tests, agent versions and test executions to files.

    The export reads all lists concurrently and reports whether each list is
    provably complete. After an interruption, run the same command again: it
    continues.
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
            raise StoppedBySignalError(_kept(progress, output) or "no new file was written.") from None
        except sdk.FutureAGIError as error:
            print_error(_failure(error, progress, output))
            return failure_code(error)
        _conclude(report, output)
    return ExitCode.DONE if report.complete else ExitCode.INCOMPLETE


def _check_fits(output: OutputOptions) -> None:
    """Raise `UsageError` for options that contradict each other."""
    if output.output.startswith("-") and not output.to_stdout:
        raise UsageError(
            f"-o needs a path, not {output.output!r}. If the name begins with -, put ./ before it."
        )
    if output.quiet and output.verbose:
        raise UsageError("--quiet can't be used with --verbose: leave one out.")
    if not output.to_stdout:
        return
    if output.json:
        raise UsageError("--json can't be used with -o -: both print to stdout. Leave one out.")
    if output.format == "parquet":
        raise UsageError(
            "--format parquet can't be printed to stdout. Choose jsonl or csv, or name a file with -o."
        )


def _files_of(output: OutputOptions) -> int:
    """Return how many files an export has open at once, besides connections."""
    name = output.output.removesuffix(".gz").removesuffix(".zst")
    is_plain = output.to_stdout or name.endswith((".jsonl", ".ndjson", ".csv"))
    tables = output.ordered or output.transcripts or not is_plain
    return _FILES + tables * _FILES_OF_TABLES + (output.recordings is not None) * _FILES_OF_RECORDINGS


@contextmanager
def _open_target(output: OutputOptions) -> Iterator[str]:
    """Give the path to export to: for stdout a temporary file, because an export is valid only at its end."""
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
    return f"Can't write a temporary file: {reason}. Set TMPDIR to a directory with free space."


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
    """Return the arguments of an export that also work with ``--ray``."""
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
    """Return the options that don't work with ``--ray``, and whether each is given."""
    return {
        "-o -": output.to_stdout,
        "--restart": output.restart,
        "--recordings": output.recordings is not None,
        "--allow-private-hosts": output.allow_private_hosts,
    }


def _names(given: tuple[str, ...]) -> list[str]:
    """Return the names from values that are separated by commas, or given one by one."""
    return [name for some in given for each in some.split(",") if (name := each.strip())]


async def _show_while(
    display: "Display", session: "sdk.Session", write: "Callable[[], Awaitable[sdk.ExportReport]]"
) -> "sdk.ExportReport":
    async with session:
        with usage_errors(), display:
            return await write()


def _failure(error: "sdk.FutureAGIError", progress: "Progress", output: OutputOptions) -> str:
    """Return what ended an export, and how to continue."""
    import sqlite3

    if isinstance(error, sdk.NotFoundError):
        return not_found_message(error)
    if isinstance(error, sdk.ExportError):
        cause = error.__cause__
        disk = cause.__cause__ if isinstance(cause, sdk.ExportError) else cause
        if output.to_stdout and isinstance(disk, OSError | sqlite3.Error):
            return _no_room(disk)
        return in_shell_words(str(error))  # its message says what is kept
    return " ".join(filter(None, (in_shell_words(str(error)), _kept(progress, output))))


def _kept(progress: "Progress", output: OutputOptions) -> str:
    """Return how to continue, if records are kept; else an empty text."""
    kept = progress.stages["reading"].records
    if not kept or output.to_stdout:
        return ""
    return f"{format_count(kept, 'record')} {'is' if kept == 1 else 'are'} kept: {_GO_ON}"


def _conclude(report: "sdk.ExportReport", output: OutputOptions) -> None:
    """Print the records or the JSON to stdout, and the result of the export to stderr."""
    stderr = open_stderr()
    where = shown_path(report.path)
    if output.to_stdout:
        where = "stdout"
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
            more = f"{error} The export itself is finished: {where}."
            raise OutputError(more, reader_left=error.reader_left) from error
