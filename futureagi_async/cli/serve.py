"""The command `serve`: runs the stand-in server."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from futureagi_async.cli.running import ExitCode, StoppedBySignalError, run_async
from futureagi_async.cli.streams import print_notice, write_text

if TYPE_CHECKING:
    from futureagi_async.testing import StandInServer


def serve(
    *,
    port: Annotated[
        int,
        Parameter(validator=Number(gte=0, lte=65535), help="The port to listen on. Default: any free port."),
    ] = 0,
    dialect: Annotated[
        Literal["served", "documented"],
        Parameter(
            show_default=True,
            help="served: answer like the vendor's server. documented: answer like its API documents.",
        ),
    ] = "served",
    latency: Annotated[
        float,
        Parameter(
            metavar="SECONDS",
            validator=Number(gte=0, lte=3600),
            help="The delay of every answer. Default: 0.",
        ),
    ] = 0.0,
) -> int:
    """Run a stand-in server with sample data until you press Ctrl-C.

    It listens on this machine only. It prints the environment variables to set,
    and ids of its sample data.
    """
    from futureagi_async.testing import StandInServer  # a web server, which few commands need

    with StandInServer(dialect=dialect, latency_seconds=latency, port=port) as stand_in:
        try:
            run_async(partial(_serve, stand_in))
        except StoppedBySignalError:
            print_notice("Stopped.")
    return ExitCode.DONE


async def _serve(stand_in: "StandInServer") -> None:
    """Print the introduction, then wait for Ctrl-C."""
    write_text(_introduction(stand_in))
    import anyio

    await anyio.sleep_forever()


def _introduction(stand_in: "StandInServer") -> str:
    lines = [
        f"export FI_BASE_URL={stand_in.base_url}",
        f"export FI_API_KEY={stand_in.api_key}",
        f"export FI_SECRET_KEY={stand_in.secret_key}",
        *(f"# --run-test {run_test_id}" for run_test_id in stand_in.run_test_ids),
        *(f"# --agent-version {agent_id}:{version_id}" for agent_id, version_id in stand_in.agent_versions),
        *(f"# --test-execution {execution_id}" for execution_id in stand_in.test_execution_ids),
        *(f"# call {call_id}" for call_id in stand_in.call_execution_ids()[:3]),
        "# Press Ctrl-C to stop.",
    ]
    return "".join(f"{line}\n" for line in lines)
