"""The command `plan`: estimates the cost of an export."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console, RenderableType
from rich.text import Text

import futureagi_async as sdk
from futureagi_async.cli.connection import Connection, Limits, connect, find_sources
from futureagi_async.cli.formatting import (
    Column,
    format_bytes,
    format_duration,
    one_line,
    short_name,
    table,
    to_json,
)
from futureagi_async.cli.messages import in_shell_words, usage_errors
from futureagi_async.cli.running import ExitCode, run_async
from futureagi_async.cli.sources import SourceOptions, lists_or_samples, name_sources
from futureagi_async.cli.streams import open_stdout, print_text, write_json
from futureagi_async.cli.summary import failure_json

if TYPE_CHECKING:
    from futureagi_async.export import SourcePlan

PLAN_EPILOGUE = """\
Examples:
  futureagi-async plan --demo
  futureagi-async plan --sources sources.toml --set nightly --transcripts

Exit codes: 0 all lists could be read; 3 some lists could not be read; 1 failed,
  or no list could be read; 2 wrong arguments; 130 interrupted.
"""


def plan(
    *,
    lists: SourceOptions = SourceOptions(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
    transcripts: Annotated[
        bool, Parameter(help="Also count the requests that export --transcripts sends.")
    ] = False,
    json: Annotated[bool, Parameter(help="Print the plan as one JSON object.")] = False,
) -> int:
    """Estimate the records, requests, size and time of an export.

    It sends a few small requests and writes nothing. It estimates records and
    bytes from a few calls of each list. It estimates the time from the response
    times of some pages and details, and from how many requests the server
    answers concurrently.
    """
    with connect(connection) as endpoint:
        sources = find_sources(endpoint, name_sources(lists_or_samples(lists, endpoint.stand_in)), limits)
        session = endpoint.session(
            max_in_flight=limits.max_in_flight, max_requests_per_minute=limits.max_requests_per_minute
        )
        found = run_async(
            partial(_plan, session, sources, page_size=limits.page_size, transcripts=transcripts)
        )
    if json:
        write_json(_plan_json(found))
    else:
        _print_plan(found, open_stdout(), transcripts=transcripts)
    if found.known:
        return ExitCode.DONE
    answered = any(source.error is None for source in found.sources)
    return ExitCode.INCOMPLETE if answered else ExitCode.FAILED


async def _plan(
    session: "sdk.Session", sources: "list[sdk.CallSource]", *, page_size: int, transcripts: bool
) -> "sdk.ExportPlan":
    async with session:
        with usage_errors():
            return await sdk.plan_export(session, sources, page_size=page_size, transcripts=transcripts)


def _print_plan(plan: "sdk.ExportPlan", console: Console, *, transcripts: bool) -> None:
    console.print(_table(plan, transcripts=transcripts))
    for source in plan.sources:
        if source.error is not None:
            reason = Text(f"{short_name(source.source)} could not be read: ", style="yellow")
            print_text(console, reason.append(one_line(in_shell_words(str(source.error)))))
    if any(source.error is None for source in plan.sources):
        print_text(
            console, Text(f"An export would take about {format_duration(plan.seconds)}.", style="bold")
        )


def _table(plan: "sdk.ExportPlan", *, transcripts: bool) -> RenderableType:
    numbers = ("Records", "Requests", *(["Transcripts"] if transcripts else []), "Size")
    columns = [Column("List"), *(Column(name, is_number=True) for name in numbers)]
    rows = [
        [Text(short_name(source.source)), *_figures(source, transcripts=transcripts)]
        for source in plan.sources
    ]
    details = sum(source.detail_requests for source in plan.sources)
    totals = [f"{plan.records:,}", f"{plan.requests - details:,}"]
    totals += [f"{details:,}"] if transcripts else []
    rows.append([Text(total, style="bold") for total in ("All", *totals, format_bytes(plan.bytes))])
    return table(columns, rows)


def _figures(source: "SourcePlan", *, transcripts: bool) -> list[Text]:
    if source.error is not None:
        return [Text("?")] * (4 if transcripts else 3)
    details = [f"{source.detail_requests:,}"] if transcripts else []
    figures = [f"{source.records:,}", f"{source.requests:,}", *details, format_bytes(source.bytes)]
    return list(map(Text, figures))


def _plan_json(plan: "sdk.ExportPlan") -> bytes:
    return to_json(
        {
            "records": plan.records,
            "requests": plan.requests,
            "bytes": plan.bytes,
            "seconds": round(plan.seconds, 3),
            "known": plan.known,
            "sources": [_source_json(source) for source in plan.sources],
        }
    )


def _source_json(source: "SourcePlan") -> Mapping[str, object]:
    return {
        **source.source.to_dict(),
        "records": source.records,
        "requests": source.requests,
        "detail_requests": source.detail_requests,
        "bytes": source.bytes,
        "seconds": round(source.seconds, 3),
        "error": None if source.error is None else failure_json(source.error),
    }
