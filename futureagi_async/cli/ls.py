"""The command `ls`: lists run tests, executions, agents and versions, with their ids and names."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias, cast

import attrs
from cyclopts import Parameter
from rich.console import Console, RenderableType
from rich.text import Text

import futureagi_async as sdk
from futureagi_async.cli.connection import AT_LEAST_ONE, Connection, connect, read_one
from futureagi_async.cli.formatting import (
    Column,
    format_number,
    heading,
    one_line,
    status_text,
    table,
    to_json,
)
from futureagi_async.cli.messages import UsageError
from futureagi_async.cli.running import ExitCode
from futureagi_async.cli.streams import open_stdout_unwrapped, print_text, write_json

LS_EPILOGUE = """\
Examples:
  futureagi-async ls --demo
  futureagi-async ls run-tests --search checkout
  futureagi-async ls executions "Checkout flow"
  futureagi-async ls versions "Support bot" --json

Other commands take the ids in the first column. They also take names, if only
  one item has that name.
"""

What: TypeAlias = Literal["run-tests", "executions", "agents", "versions"]
Thing: TypeAlias = "sdk.RunTest | sdk.TestExecution | sdk.AgentDefinition | sdk.AgentVersion"

_OVERVIEW_ROWS = 10


def ls(
    what: Annotated[
        What | None,
        Parameter(metavar="WHAT", help="What to list. Default: an overview."),
    ] = None,
    of: Annotated[
        str | None,
        Parameter(
            metavar="OF",
            help="For executions, the run test; for versions, the agent: an id or a name.",
        ),
    ] = None,
    /,
    *,
    search: Annotated[
        str | None,
        Parameter(metavar="TEXT", help="Only items with this text in the name. Not for versions."),
    ] = None,
    limit: Annotated[
        int | None,
        Parameter(
            metavar="N",
            validator=AT_LEAST_ONE,
            help="Only the newest N items. Default: all; in an overview, 10 of each kind.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        Parameter(name="--json", help="Print JSON, one object per line, with all fields except secrets."),
    ] = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """List run tests, test executions, agents and agent versions."""
    _check_arguments(what, of, search)
    with connect(connection) as endpoint:
        found = read_one(endpoint, lambda session: _read(session, what, of, search))
    shown = limit if limit is not None or what else _OVERVIEW_ROWS
    if as_json:
        for things in found.values():
            for thing in things[:limit]:
                write_json(_to_json(thing))
    else:
        _print(found, shown, open_stdout_unwrapped())
    return ExitCode.DONE


def _check_arguments(what: What | None, of: str | None, search: str | None) -> None:
    needed = {"executions": "the run test", "versions": "the agent"}.get(what or "")
    if needed and of is None:
        raise UsageError(f"ls {what} needs {needed}: give its id or name. futureagi-async ls shows them.")
    if of is not None and not needed:
        raise UsageError(f"ls {what} takes no other argument. To select by name, use --search.")
    if of is not None:
        try:
            sdk.RunTestNamed(of) if what == "executions" else sdk.AgentVersionNamed(of, "latest")
        except ValueError as error:
            raise UsageError(f"ls {what}: {error}") from error
    if search is not None and what == "versions":
        raise UsageError("--search can't be used with ls versions: the server has no search for versions.")


async def _read(
    session: "sdk.Session", what: What | None, of: str | None, search: str | None
) -> Mapping[What, Sequence[Thing]]:
    match what:
        case "run-tests":
            return {what: await session.list_run_tests(search)}
        case "agents":
            return {what: await session.list_agent_definitions(search)}
        case "executions":
            (run,) = await session.find_sources(sdk.RunTestNamed(of or ""))
            run_test_id = cast(sdk.RunTestCalls, run).run_test_id
            return {what: await session.list_test_executions(run_test_id, search=search)}
        case "versions":
            (version,) = await session.find_sources(sdk.AgentVersionNamed(of or "", "latest"))
            agent_id = cast(sdk.AgentVersionCalls, version).agent_id
            return {what: await session.list_agent_versions(agent_id)}
    runs = await session.list_run_tests(search)
    return {"run-tests": runs, "agents": await session.list_agent_definitions(search)}


def _to_json(thing: Thing) -> bytes:
    fields = attrs.asdict(thing, recurse=False)
    kind = _KINDS[type(thing).__name__]
    return to_json({"kind": kind, **{k: v for k, v in fields.items() if k not in ("extra", "misfits")}})


_KINDS: Mapping[str, str] = {
    "RunTest": "run_test",
    "TestExecution": "test_execution",
    "AgentDefinition": "agent",
    "AgentVersion": "agent_version",
}
"""By class name."""


def _print(found: Mapping[What, Sequence[Thing]], limit: int | None, console: Console) -> None:
    for number, (what, things) in enumerate(found.items()):
        if len(found) > 1:
            console.print(heading(what.replace("-", " ").capitalize(), is_first=number == 0))
        if things:
            console.print(_table(what, things[:limit]))
        else:
            print_text(console, Text(f"There are no {what.replace('-', ' ')}.", style="dim"))
        if limit is not None and len(things) > limit:
            more = f"{len(things) - limit:,} more: futureagi-async ls {what}"
            print_text(console, Text(more, style="dim"))


def _table(what: What, things: Sequence[Thing]) -> RenderableType:
    return table((Column("Id"), *_COLUMNS[what]), [[Text(thing.id), *_cells(thing)] for thing in things])


_COLUMNS: Mapping[What, Sequence[Column]] = {
    "run-tests": (Column("Name", flexible=True), Column("Last run, UTC")),
    "executions": (
        Column("Status"),
        Column("Started, UTC"),
        Column("Success", is_number=True),
        Column("Agent", flexible=True),
    ),
    "agents": (Column("Name", flexible=True), Column("Type"), Column("Latest", is_number=True)),
    "versions": (Column("Version", flexible=True), Column("Status"), Column("Created, UTC")),
}


def _cells(thing: Thing) -> list[Text]:
    match thing:
        case sdk.RunTest():
            return [_text(thing.name), _text(_minute(thing.last_run_at) or "never")]
        case sdk.TestExecution():
            agent = " ".join(filter(None, (thing.agent_definition, thing.agent_version)))
            success = format_number(thing.success_rate, "%")
            return [
                status_text(thing.status),
                _text(_minute(thing.started_at)),
                _text(success),
                _text(agent),
            ]
        case sdk.AgentDefinition():
            latest = None if thing.latest_version is None else f"v{thing.latest_version}"
            return [_text(thing.name), _text(thing.agent_type), _text(latest)]
        case sdk.AgentVersion():
            latest = "latest" if thing.is_latest else None
            name = ", ".join(filter(None, (thing.name, latest)))
            return [_text(name), _text(thing.status), _text(_minute(thing.created_at))]


def _text(value: str | None) -> Text:
    return Text(one_line(value or ""))


def _minute(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
