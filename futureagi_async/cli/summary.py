"""A finished export, told to people and to programs."""

from collections.abc import Mapping

import msgspec
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from futureagi_async import AgentVersionCalls, CallSource, RunTestCalls, SourceReport
from futureagi_async.cli.tally import short_name
from futureagi_async.cli.text import clean, counted, one_line, sized
from futureagi_async.export import ExportReport

_DELETED = "The server also counts calls that were deleted, which it does not deliver."


def print_summary(report: ExportReport, console: Console) -> None:
    """Say what was read of each list, why a list is incomplete, and where the records are."""
    console.print(_table(report))
    if any(_counts_more(source) for source in report.fetch):
        _say(console, Text(_DELETED, style="dim"))
    print_reasons(report, console)
    written = (
        f"Wrote {counted(report.records, 'record')} ({sized(report.bytes)}) to {clean(str(report.path))}"
    )
    _say(console, Text(written, style="bold"))


def print_reasons(report: ExportReport, console: Console) -> None:
    """Say of each list that is incomplete why."""
    for source in report.fetch:
        if source.verdict == "complete":
            continue
        reason = Text(f"{short_name(source.source)} is incomplete: ", style="yellow")
        _say(console, reason.append(one_line(source.reason)))
        if source.failures:
            others = len(source.failures) - 1
            more = f" (and {counted(others, 'other')})" if others else ""
            _say(console, Text(one_line(str(source.failures[0])) + more, style="dim"), indent=2)


def _say(console: Console, text: Text, *, indent: int = 0) -> None:
    """Print a paragraph; where no terminal has an edge, on one line."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, indent)))
    else:
        console.print(" " * indent, text, sep="", soft_wrap=True)


def _counts_more(source: SourceReport) -> bool:
    return source.verdict == "complete" and source.received < (source.expected or 0)


def summary_json(report: ExportReport) -> bytes:
    """Return the same for programs: one JSON object on one line."""
    return msgspec.json.encode(
        {
            "path": str(report.path),
            "format": report.format,
            "records": report.records,
            "bytes": report.bytes,
            "complete": report.complete,
            "sources": [_source_json(source) for source in report.fetch],
        }
    )


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


def _source_json(source: SourceReport) -> Mapping[str, object]:
    return {
        **_identity(source.source),
        "expected": source.expected,
        "received": source.received,
        "duplicates": source.duplicates,
        "requests": source.requests,
        "retries": source.retries,
        "verdict": source.verdict,
        "complete_as_of": source.complete_as_of,
        "reason": source.reason,
        "failures": [
            {"error": type(failure).__name__, "message": str(failure)} for failure in source.failures
        ],
    }


def _identity(source: CallSource) -> Mapping[str, object]:
    if isinstance(source, RunTestCalls):
        named: Mapping[str, object] = {
            "kind": "run_test",
            "run_test_id": source.run_test_id,
            "status": source.status,
            "search": source.search,
        }
        return named
    if isinstance(source, AgentVersionCalls):
        return {"kind": "agent_version", "agent_id": source.agent_id, "version_id": source.version_id}
    return {
        "kind": "test_execution",
        "test_execution_id": source.test_execution_id,
        "search": source.search,
    }
