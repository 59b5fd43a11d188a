"""The command `execution`, and the layout of a test execution on a terminal."""

from typing import Annotated

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.text import Text

import futureagi_async as sdk
from futureagi_async.cli.connection import (
    AT_LEAST_ONE,
    Connection,
    ExecutionId,
    choose_execution,
    connect,
    read_one,
)
from futureagi_async.cli.formatting import (
    Column,
    clean,
    format_count,
    format_number,
    heading,
    one_line,
    pairs,
    status_text,
    table,
)
from futureagi_async.cli.running import print_found


def execution(
    execution_id: ExecutionId = None,
    /,
    *,
    page: Annotated[
        int,
        Parameter(metavar="N", validator=AT_LEAST_ONE, show_default=True, help="The page of calls to show."),
    ] = 1,
    limit: Annotated[
        int, Parameter(metavar="N", validator=AT_LEAST_ONE, show_default=True, help="Calls per page.")
    ] = 10,
    search: Annotated[
        str | None,
        Parameter(
            metavar="TEXT", help="Only calls with this text in the number, scenario, summary or transcript."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        Parameter(name="--json", help="Print the calls as the server sent them: one JSON object per line."),
    ] = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Show a test execution: its status, its columns and a page of its calls."""
    with connect(connection) as endpoint:
        wanted = choose_execution(execution_id, endpoint)
        found = read_one(
            endpoint,
            lambda session: session.get_test_execution(wanted, search=search, page=page, limit=limit),
        )
    return print_found(render_execution, found, [one.raw for one in found.calls], as_json=as_json)


def render_execution(page: "sdk.TestExecutionPage") -> RenderableType:
    """Return the status, the columns, the calls of the page, and the option that shows the next page."""
    title = Text("Test execution ", style="bold").append_text(status_text(page.status))
    columns = [column.column_name or column.id for column in page.column_order if column.visible is not False]
    facts = pairs(
        {
            "Agent type": page.agent_type,
            "Provider": page.provider,
            "Calls": f"{page.count:,}",
            "Columns": ", ".join(columns),
        }
    )
    parts: list[RenderableType] = [title, facts, heading("Calls")]
    parts += [_calls(page)] if page.calls else []
    parts.append(Text(_position(page), "dim"))
    parts += [Text(f"not shown: {one_line(str(failure.error))}", style="red") for failure in page.failures]
    return Group(*parts)


def _calls(page: "sdk.TestExecutionPage") -> RenderableType:
    columns = [
        Column("Id"),
        Column("Status"),
        Column("Seconds", is_number=True),
        Column("Score", is_number=True),
        Column("Scenario", flexible=True),
    ]
    return table(columns, [_figures(call) for call in page.calls])


def _figures(call: "sdk.CallExecution") -> list[Text]:
    return [
        Text(clean(call.id)),
        status_text(call.status),
        Text(format_number(call.duration) or ""),
        Text(format_number(call.overall_score) or ""),
        Text(_scenario(call)),
    ]


def _scenario(call: "sdk.CallExecution") -> str:
    return one_line(call.scenario.name or call.scenario.id or "") if call.scenario else ""


def _position(page: "sdk.TestExecutionPage") -> str:
    if page.current_page > page.total_pages:
        return f"There is no page {page.current_page:,}. The last page is {page.total_pages:,}."
    where = (
        f"Page {page.current_page:,} of {page.total_pages:,}, {format_count(page.count, 'call')} in total."
    )
    return f"{where} Next page: --page {page.current_page + 1}" if page.has_next else where
