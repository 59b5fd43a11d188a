"""Prints the result of an export, for people and as JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

import futureagi_async as sdk
from futureagi_async.cli.formatting import (
    Column,
    format_bytes,
    format_count,
    one_line,
    short_name,
    shown_path,
    table,
    to_json,
)
from futureagi_async.cli.streams import print_text

_FIGURES = ("Listed", "Received", "Overlap", "Repeats", "Requests", "Retries")
_NAMED = 6  # names of left-out columns to print; the manifest has all of them
_EXPLAINED = (
    "Listed: the server's count of calls. It may include deleted calls, which the server does not send.",
    "Overlap: calls read twice on purpose: pages overlap so that no call is missed.",
    "Repeats: calls that moved to another page while the list changed. Each is written once.",
)


def print_summary(report: "sdk.ExportReport", where: str, console: Console, *, verbose: bool) -> None:
    """Print what was read of each list, what is missing and why, and where the records are."""
    if verbose:
        _print_details(report, console)
    else:
        for line in _lines(report, console):
            print_text(console, line)
    for addition in _additions(report):
        print_text(console, Text(addition))
    print_reasons(report, console)
    print_text(console, Text(_written(report, where), style="bold"))


def _lines(report: "sdk.ExportReport", console: Console) -> Iterator[Text]:
    """Yield one line per list: its verdict and its number of calls."""
    sources = report.fetch.sources
    names = [short_name(source.source) for source in sources]
    counts = [f"{source.received:,}" for source in sources]
    name_width, count_width = (max(map(cell_len, words), default=0) for words in (names, counts))
    for source, name, count in zip(sources, names, counts, strict=True):
        noun = "call" if source.received == 1 else "calls"
        gap = " " * (name_width - cell_len(name))
        line = Text.assemble(verdict_mark(source, console), f" {name}{gap}  {count:>{count_width}} {noun}")
        yield line if source.verdict == "complete" else line.append("  incomplete", "yellow")


def verdict_mark(source: "sdk.SourceReport", console: Console) -> tuple[str, str]:
    """Return the mark of a list's verdict, and its colour."""
    complete, incomplete = ("✓", "✗") if console.encoding.lower().startswith("utf") else ("+", "-")
    return (complete, "green") if source.verdict == "complete" else (incomplete, "yellow")


def _print_details(report: "sdk.ExportReport", console: Console) -> None:
    """Print a table of all figures, and what they mean."""
    columns = [
        Column("List"),
        *(Column(figure, is_number=True) for figure in _FIGURES),
        Column("Verdict"),
    ]
    console.print(table(columns, [_figures(source) for source in report.fetch]))
    for line in (*_EXPLAINED, *_why_complete(report)):
        print_text(console, Text(line, style="dim"))


def _figures(source: "sdk.SourceReport") -> list[Text]:
    repeats = (source.overlapping_rows, source.duplicates)
    numbers = (source.received, *repeats, source.requests, source.retries)
    return [
        Text(short_name(source.source)),
        Text("?" if source.expected is None else f"{source.expected:,}"),
        *(Text(f"{number:,}") for number in numbers),
        Text(source.verdict, "green" if source.verdict == "complete" else "yellow"),
    ]


def _why_complete(report: "sdk.ExportReport") -> Iterator[str]:
    """Yield the proofs of the complete lists, each once."""
    proven = [source for source in report.fetch if source.verdict == "complete"]
    for reason in dict.fromkeys(source.reason for source in proven):
        lists = sum(source.reason == reason for source in proven)
        yield f"Why complete ({format_count(lists, 'list')}): {one_line(reason)}"


def print_reasons(report: "sdk.ExportReport", console: Console) -> None:
    """Print why lists are incomplete, and which transcripts and recordings failed."""
    print_missing(report.fetch, report.transcript_failures, console)
    if failed := [file for file in report.recordings if file.error is not None]:
        print_text(
            console,
            Text(f"{format_count(len(failed), 'recording')} could not be downloaded:", style="yellow"),
        )
        _say_first(console, [f"{file.call_id} from {file.url_host}: {file.error}" for file in failed])


def print_missing(
    sources: "Iterable[sdk.SourceReport]",
    transcript_failures: "Sequence[sdk.FutureAGIError]",
    console: Console,
) -> None:
    """Print why lists are incomplete, and which transcripts failed."""
    for source in sources:
        if source.verdict != "complete":
            reason = Text(f"{short_name(source.source)} is incomplete: ", style="yellow")
            print_text(console, reason.append(one_line(source.reason)))
            _say_first(console, [str(failure) for failure in source.failures])
    if transcript_failures:
        failed = format_count(len(transcript_failures), "transcript")
        print_text(console, Text(f"{failed} could not be fetched:", style="yellow"))
        _say_first(console, list(map(str, transcript_failures)))


def _say_first(console: Console, failures: list[str]) -> None:
    if failures:
        more = f" (and {format_count(len(failures) - 1, 'other')})" if len(failures) > 1 else ""
        print_text(console, Text(one_line(failures[0]) + more, style="dim"), indent=2)


def _additions(report: "sdk.ExportReport") -> Iterator[str]:
    if report.resumed:
        yield f"The export continued after {format_count(report.resumed, 'interruption')}."
    if since := [moment for moment in report.changed_since if moment is not None]:
        lists = format_count(len(since), "list")
        yield f"Read only the changes of {lists} since the earlier export. This can't find deleted calls."
    if report.transcripts_fetched:
        yield f"Fetched {format_count(report.transcripts_fetched, 'transcript')} that lists do not include."
    if gone := report.transcripts_gone:
        calls = f"{format_count(len(gone), 'call')} {'was' if len(gone) == 1 else 'were'}"
        yield f"{calls} deleted before the transcript could be fetched."
    if left_out := report.left_out_columns:
        names, others = ", ".join(left_out[:_NAMED]), len(left_out) - _NAMED
        more = f" and {others:,} more" if others > 0 else ""
        yield f"Left out {format_count(len(left_out), 'column')}: {names}{more}."
    if report.redacted_with is not None:
        yield f"Phone numbers and names are replaced with digests (id of the key: {report.redacted_with})."
    if odd := report.fetch.misfits:
        yield f"{format_count(odd, 'record')} had values of undocumented types, kept as sent (misfits)."
    if audio := [file for file in report.recordings if file.error is None]:
        size = format_bytes(sum(file.bytes for file in audio))
        yield f"Downloaded {format_count(len(audio), 'recording')} ({size})."


def _written(report: "sdk.ExportReport", where: str) -> str:
    what = f"{format_count(report.records, 'record')} ({format_bytes(report.bytes)})"
    if report.already_finished:
        return (
            f"{where} already holds this export: {what}. Nothing was read. To read it again, add --restart."
        )
    files = f" in {format_count(len(report.files), 'file')}" if report.manifest else ""
    return f"Wrote {what} to {where}{files}: {_verdict(report)}."


def _verdict(report: "sdk.ExportReport") -> str:
    if report.complete:
        return "complete"
    missing = sum(source.verdict != "complete" for source in report.fetch)
    if not missing:
        return "incomplete"
    lists = len(report.fetch.sources)
    return f"{missing:,} of {format_count(lists, 'list')} {'is' if missing == 1 else 'are'} incomplete"


def summary_json(report: "sdk.ExportReport") -> bytes:
    """Return the result of an export as one JSON object."""
    return to_json(
        {
            "path": shown_path(report.path),
            "format": report.format,
            "records": report.records,
            "bytes": report.bytes,
            "complete": report.complete,
            "already_finished": report.already_finished,
            "resumed": report.resumed,
            "files": [shown_path(path) for path in report.files],
            "left_out_columns": report.left_out_columns,
            "redacted_with": report.redacted_with,
            "manifest": None if report.manifest is None else shown_path(report.manifest),
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


def failure_json(failure: "sdk.FutureAGIError") -> Mapping[str, str]:
    """Return an error as a JSON object."""
    return {"error": type(failure).__name__, "message": str(failure)}


def _source_json(source: "sdk.SourceReport") -> Mapping[str, object]:
    return {
        **source.source.to_dict(),
        "expected": source.expected,
        "received": source.received,
        "duplicates": source.duplicates,
        "overlapping_rows": source.overlapping_rows,
        "requests": source.requests,
        "retries": source.retries,
        "misfits": source.misfits,
        "verdict": source.verdict,
        "complete_as_of": source.complete_as_of,
        "reason": source.reason,
        "failures": [failure_json(failure) for failure in source.failures],
    }
