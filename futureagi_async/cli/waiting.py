"""The commands `wait` and `watch`: both run until a test execution is final."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

import futureagi_async as sdk
from futureagi_async.cli.connection import (
    Connection,
    Endpoint,
    ExecutionId,
    MaxOutage,
    choose_execution,
    connect,
    read_one,
)
from futureagi_async.cli.running import ExitCode
from futureagi_async.cli.streams import open_stderr, open_stdout, print_error, write_json

if TYPE_CHECKING:
    from futureagi_async.cli.board import Progress

WAIT_EPILOGUE = """\
Examples:
  futureagi-async wait --demo
  futureagi-async wait "latest:Checkout flow" --timeout 1800 && echo completed

Exit codes: 0 completed, 3 failed or cancelled, 124 timed out.
"""
WATCH_EPILOGUE = """\
Examples:
  futureagi-async watch --demo
  futureagi-async watch "latest:Checkout flow"
  futureagi-async watch 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed --json

Exit codes: 0 completed, 3 failed or cancelled, 124 timed out.
"""

_DEMO_POLL_SECONDS = 0.5

Timeout = Annotated[
    float,
    Parameter(
        metavar="SECONDS",
        validator=Number(gte=0),
        show_default=True,
        help="The longest time to wait. 0: check once.",
    ),
]
Poll = Annotated[
    float | None,
    Parameter(
        metavar="SECONDS",
        validator=Number(gt=0),
        help="The shortest pause between two checks. It grows up to a minute while nothing changes. "
        "Default: 5.",
    ),
]


def wait(
    execution_id: ExecutionId = None,
    /,
    *,
    timeout: Timeout = 3600,
    poll: Poll = None,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), help="Don't print progress.")] = False,
    as_json: Annotated[
        bool, Parameter(name="--json", help="Print the last state as one JSON object.")
    ] = False,
    max_outage: MaxOutage = 900.0,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Wait until a test execution, its calls and their evaluations are final.

    Prints progress to stderr, and the last state to stdout.
    """
    from futureagi_async.cli import board

    progress = board.Progress() if quiet else board.live_or_plain(open_stderr(), transient=True)
    state, error = _follow(connection, execution_id, timeout, poll, max_outage, progress)
    if as_json:
        write_json(board.state_json(state))
    else:
        open_stdout().print(board.render_state(state))
    return _exit_code(state, error)


def watch(
    execution_id: ExecutionId = None,
    /,
    *,
    timeout: Annotated[
        float | None,
        Parameter(
            metavar="SECONDS", validator=Number(gte=0), help="The longest time to watch. Default: no limit."
        ),
    ] = None,
    poll: Poll = None,
    as_json: Annotated[
        bool,
        Parameter(
            name="--json", help="Print a JSON object at the first check and at each change, one per line."
        ),
    ] = False,
    max_outage: MaxOutage = 900.0,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Watch a test execution: its calls by status and its pending evaluations.

    On a terminal it shows a live board, which stays on the screen at the end.
    Elsewhere it prints a line at each change.
    """
    from futureagi_async.cli import board

    progress = board.JsonLines() if as_json else board.live_or_plain(open_stdout(), transient=False)
    state, error = _follow(connection, execution_id, timeout, poll, max_outage, progress)
    return _exit_code(state, error)


def _follow(
    connection: Connection,
    execution_id: str | None,
    timeout: float | None,
    poll: float | None,
    max_outage: float,
    progress: "Progress",
) -> "tuple[sdk.ExecutionState, sdk.WaitTimeoutError | None]":
    """Wait, and return the last state; if the time is over, also the error."""
    with connect(connection) as endpoint:
        wanted = choose_execution(execution_id, endpoint)
        if endpoint.stand_in is not None:
            poll = poll or _DEMO_POLL_SECONDS
            run_demo(endpoint, str(wanted))

        async def work(session: "sdk.Session") -> "sdk.ExecutionState":
            return await session.wait_for_execution(wanted, timeout, poll or 5.0, max_outage=max_outage)

        try:
            with progress:
                return read_one(endpoint, work, observers=[progress.on_event]), None
        except sdk.WaitTimeoutError as error:
            if error.state is None:
                raise
            return error.state, error


def run_demo(endpoint: Endpoint, execution_id: str) -> None:
    """Start the sample test execution, so that there is something to wait for."""
    from futureagi_async.testing import Run

    assert endpoint.stand_in is not None
    endpoint.stand_in.run_execution(
        execution_id, Run(calls_at_once=40, call_seconds=1.5, evaluation_seconds=3.0)
    )


def _exit_code(state: "sdk.ExecutionState", error: "sdk.WaitTimeoutError | None") -> int:
    if error is not None:
        print_error(str(error))
        return ExitCode.TIMED_OUT
    return ExitCode.DONE if state.status == sdk.ExecutionStatus.COMPLETED else ExitCode.INCOMPLETE
