"""A finished export: for people, and as JSON."""

from collections.abc import Iterator, Mapping

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from futureagi_async import FutureAGIError, SourceReport
from futureagi_async.cli.formatting import clean, format_bytes, format_count, one_line
from futureagi_async.cli.progress import short_name
from futureagi_async.cli.running import print_text
from futureagi_async.export import ExportReport

_DELETED = "The server also counts calls that were deleted, which it does not deliver."


def print_summary(report: ExportReport, console: Console) -> None:
    """Say what was read of each list, what is missing and why, and where the records are."""
    console.print(_table(report))
    if any(_counts_more(source) for source in report.fetch):
        print_text(console, Text(_DELETED, style="dim"))
    for line in _additions(report):
        print_text(console, Text(line))
    print_reasons(report, console)
    print_text(console, Text(_written(report), style="bold"))


def print_reasons(report: ExportReport, console: Console) -> None:
    """Say of each list that is incomplete why, and which transcripts and recordings failed."""
    for source in report.fetch:
        if source.verdict != "complete":
            reason = Text(f"{short_name(source.source)} is incomplete: ", style="yellow")
            print_text(console, reason.append(one_line(source.reason)))
            _say_first(console, [str(failure) for failure in source.failures])
    if failures := report.transcript_failures:
        print_text(
            console,
            Text(f"{format_count(len(failures), 'transcript')} could not be fetched:", style="yellow"),
        )
        _say_first(console, [str(failure) for failure in failures])
    if failed := [file for file in report.recordings if file.error is not None]:
        print_text(
            console,
            Text(f"{format_count(len(failed), 'recording')} could not be downloaded:", style="yellow"),
        )
        _say_first(console, [f"{file.call_id} from {file.url_host}: {file.error}" for file in failed])


def _say_first(console: Console, failures: list[str]) -> None:
    if failures:
        more = f" (and {format_count(len(failures) - 1, 'other')})" if len(failures) > 1 else ""
        print_text(console, Text(one_line(failures[0]) + more, style="dim"), indent=2)


def _additions(report: ExportReport) -> Iterator[str]:
    if report.resumed:
        yield f"It went on after {format_count(report.resumed, 'interruption')}."
    if since := [moment for moment in report.changed_since if moment is not None]:
        lists = format_count(len(since), "list")
        yield f"Only changes since then were read of {lists}, and no deletions seen."
    if report.transcripts_fetched:
        yield f"Fetched {format_count(report.transcripts_fetched, 'transcript')} that the lists withhold."
    if gone := report.transcripts_gone:
        yield f"{format_count(len(gone), 'call')} were deleted before the transcript could be fetched."
    if odd := report.fetch.misfits:
        yield f"{format_count(odd, 'record')} came with values of undocumented types, kept as sent (misfits)."
    if audio := [file for file in report.recordings if file.error is None]:
        size = format_bytes(sum(file.bytes for file in audio))
        yield f"Downloaded {format_count(len(audio), 'recording')} ({size})."


def _written(report: ExportReport) -> str:
    where = clean(str(report.path))
    what = f"{format_count(report.records, 'record')} ({format_bytes(report.bytes)})"
    if report.already_finished:
        return f"{where} holds this export already: {what}. Nothing was read; --restart reads anew."
    files = f" in {format_count(len(report.files), 'file')}" if report.manifest else ""
    return f"Wrote {what} to {where}{files}"


def _counts_more(source: SourceReport) -> bool:
    return source.verdict == "complete" and source.received < (source.expected or 0)


def _table(report: ExportReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("List", no_wrap=True)
    for heading in ("Expected", "Received", "Duplicates", "Requests"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Verdict", no_wrap=True)
    for source in report.fetch:
        style = "green" if source.verdict == "complete" else "yellow"
        table.add_row(
            Text(short_name(source.source)),
            "?" if source.expected is None else f"{source.expected:,}",
            f"{source.received:,}",
            f"{source.duplicates:,}",
            f"{source.requests:,}",
            Text(source.verdict, style=style),
        )
    return table


def summary_json(report: ExportReport) -> bytes:
    """Return a finished export."""
    return msgspec.json.encode(
        {
            "path": str(report.path),
            "format": report.format,
            "records": report.records,
            "bytes": report.bytes,
            "complete": report.complete,
            "already_finished": report.already_finished,
            "resumed": report.resumed,
            "files": [str(path) for path in report.files],
            "manifest": None if report.manifest is None else str(report.manifest),
            "sources": [_source_json(source) for source in report.fetch],
            "transcripts": {
                "fetched": report.transcripts_fetched,
                "gone": report.transcripts_gone,
                "failures": [failure_json(failure) for failure in report.transcript_failures],
            },
            "recordings": {
                "downloaded": sum(file.error is None for file in report.recordings),
                "bytes": sum(file.bytes for file in report.recordings),
                "failures": [
                    {"call_id": file.call_id, "name": file.name, "host": file.url_host, "message": file.error}
                    for file in report.recordings
                    if file.error is not None
                ],
            },
        }
    )


def failure_json(failure: FutureAGIError) -> Mapping[str, str]:
    """Return an error."""
    return {"error": type(failure).__name__, "message": str(failure)}


def _source_json(source: SourceReport) -> Mapping[str, object]:
    return {
        **source.source.to_dict(),
        "expected": source.expected,
        "received": source.received,
        "duplicates": source.duplicates,
        "requests": source.requests,
        "retries": source.retries,
        "misfits": source.misfits,
        "verdict": source.verdict,
        "complete_as_of": source.complete_as_of,
        "reason": source.reason,
        "failures": [failure_json(failure) for failure in source.failures],
    }
