"""The commands that show one thing: a call, a test execution, its key figures."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType

from futureagi_async import Session
from futureagi_async.cli.call_view import render_call
from futureagi_async.cli.connecting import Connection, Place, connect
from futureagi_async.cli.execution_view import render_execution
from futureagi_async.cli.kpi_view import render_kpis
from futureagi_async.cli.naming import parse_id
from futureagi_async.cli.running import ExitCode, UsageError, open_stdout, run_async, usage_errors, write_json

if TYPE_CHECKING:
    from futureagi_async.testing import StandInServer

T = TypeVar("T")

_AT_LEAST_ONE = Number(gte=1)
AsJson = Annotated[bool, Parameter(name="--json", help="Print the JSON that the server sent.")]
ExecutionId = Annotated[
    str | None, Parameter(metavar="ID", help="The test execution's id; --demo has one of its own.")
]


def call(
    call_id: Annotated[
        str | None, Parameter(metavar="ID", help="The call execution's id; --demo has one of its own.")
    ] = None,
    /,
    *,
    as_json: AsJson = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Show a call: facts, scores, evaluations, transcript."""
    with connect(connection) as place:
        wanted = _choose_id(call_id, "A call's id", place, lambda samples: samples.call_execution_ids()[4:])
        found = _read(place, lambda session: session.get_call_execution(wanted))
    return _print(render_call, found, [found.raw], as_json=as_json)


def execution(
    execution_id: ExecutionId = None,
    /,
    *,
    page: Annotated[
        int,
        Parameter(metavar="N", validator=_AT_LEAST_ONE, show_default=True, help="Which page of its calls."),
    ] = 1,
    limit: Annotated[
        int, Parameter(metavar="N", validator=_AT_LEAST_ONE, show_default=True, help="Calls a page.")
    ] = 10,
    search: Annotated[
        str | None,
        Parameter(metavar="TEXT", help="Only calls with this in number, scenario, summary or transcript."),
    ] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", help="Print the calls' JSON as the server sent it, one call a line.")
    ] = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Show a test execution: status, columns, a page of calls."""
    with connect(connection) as place:
        wanted = _choose_id(
            execution_id, "A test execution's id", place, lambda samples: samples.test_execution_ids
        )
        found = _read(
            place,
            lambda session: session.get_test_execution(wanted, search=search, page=page, limit=limit),
        )
    return _print(render_execution, found, [one.raw for one in found.calls], as_json=as_json)


def kpis(
    execution_id: ExecutionId = None,
    /,
    *,
    as_json: AsJson = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Show a test execution's key figures."""
    with connect(connection) as place:
        wanted = _choose_id(
            execution_id, "A test execution's id", place, lambda samples: samples.test_execution_ids
        )
        found = _read(place, lambda session: session.get_kpis(wanted))
    return _print(render_kpis, found, [found.raw], as_json=as_json)


def _choose_id(
    text: str | None, what: str, place: Place, samples: Callable[["StandInServer"], Sequence[str]]
) -> UUID:
    if text is not None:
        return parse_id(text, what)
    if place.stand_in is None:
        raise UsageError(f"{what} is missing. (With --demo a sample is shown.)")
    return UUID(samples(place.stand_in)[0])


def _read(place: Place, read: Callable[[Session], Awaitable[T]]) -> T:
    return run_async(partial(_read_once, place.session(), read))


async def _read_once(session: Session, read: Callable[[Session], Awaitable[T]]) -> T:
    async with session:
        with usage_errors():
            return await read(session)


def _print(
    render: Callable[[T], RenderableType], found: T, records: Sequence[bytes], *, as_json: bool
) -> int:
    if as_json:
        for record in records:
            write_json(record)
    else:
        open_stdout().print(render(found))
    return ExitCode.DONE
