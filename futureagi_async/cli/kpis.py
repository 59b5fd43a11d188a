"""The command `kpis`, and the layout of key figures on a terminal."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.text import Text

import futureagi_async as sdk
from futureagi_async.cli.connection import (
    AsJson,
    Connection,
    ExecutionId,
    choose_execution,
    connect,
    read_one,
)
from futureagi_async.cli.formatting import format_number, heading, misfits_section, pairs
from futureagi_async.cli.running import print_found
from futureagi_async.cli.streams import print_warning


def kpis(
    execution_id: ExecutionId = None,
    /,
    *,
    as_json: AsJson = False,
    no_check: Annotated[
        bool,
        Parameter(help="Don't check whether an evaluation has the same name as a figure. Saves one request."),
    ] = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Show the key figures of a test execution.

    If an evaluation has the same name as a figure, the server sends the average
    of the evaluation instead of the figure. Such figures are marked. With
    --json, stderr names them.
    """
    with connect(connection) as endpoint:
        wanted = choose_execution(execution_id, endpoint)
        found = read_one(endpoint, lambda session: _read(session, wanted, check=not no_check))
    code = print_found(render_kpis, found, [found.raw], as_json=as_json)
    if as_json and found.collisions:
        print_warning(
            f"{', '.join(found.collisions)} may be the average of an evaluation with the same name."
        )
    return code


async def _read(session: "sdk.Session", execution_id: UUID, *, check: bool) -> "sdk.ExecutionKPIs":
    """Read the figures, even if the names of the evaluations can't be read."""
    try:
        return await session.get_kpis(execution_id, check=check)
    except (sdk.InternalServerError, sdk.DecodingError) as error:
        if not check:
            raise
        figures = await session.get_kpis(execution_id)  # or its own error
        print_warning(f"can't check whether evaluations have the same names as figures: {error}")
        return figures


_FOR_ALL = (
    ("total_calls", "Calls", ""),
    ("calls_attempted", "Attempted", ""),
    ("connected_calls", "Connected", ""),
    ("calls_connected_percentage", "Connected share", "%"),
    ("failed_calls", "Failed", ""),
    ("total_duration", "Duration of all calls", "s"),
    ("avg_score", "Score", ""),
    ("avg_response", "Response time", "s"),
)
_FOR_VOICE = (
    ("avg_agent_latency", "Agent latency", "s"),
    ("avg_stop_time_after_interruption", "Stop after interruption", "s"),
    ("avg_user_interruption_count", "User interruptions", ""),
    ("avg_user_interruption_rate", "User interruption rate", ""),
    ("avg_ai_interruption_count", "AI interruptions", ""),
    ("avg_ai_interruption_rate", "AI interruption rate", ""),
    ("avg_user_wpm", "User speed", "words/min"),
    ("avg_bot_wpm", "Agent speed", "words/min"),
    ("avg_talk_ratio", "Talk ratio", ""),
    ("agent_talk_percentage", "Agent talks", "%"),
    ("customer_talk_percentage", "Customer talks", "%"),
)
_FOR_TEXT = (
    ("avg_turn_count", "Turns", ""),
    ("avg_total_tokens", "Tokens", ""),
    ("avg_input_tokens", "Input tokens", ""),
    ("avg_output_tokens", "Output tokens", ""),
    ("avg_chat_latency_ms", "Latency", "ms"),
    ("avg_csat_score", "Customer satisfaction", ""),
)


def render_kpis(kpis: "sdk.ExecutionKPIs") -> RenderableType:
    """Return the layout of the figures, the averages of evaluations and the counts of choices."""
    direction = {True: "inbound", False: "outbound", None: None}[kpis.is_inbound]
    agent = ", ".join(filter(None, (kpis.agent_type, direction))) or None
    parts: list[RenderableType] = [
        Text("Key figures", style="bold"),
        pairs({"Agent": agent} | _figures(kpis)),
        Text("Averages per call. The server also sends 0 if it has no data.", style="dim"),
    ]
    if kpis.eval_averages:
        averages = {name: format_number(value) for name, value in kpis.eval_averages.items()}
        parts += [heading("Averages of evaluations"), pairs(averages)]
    if kpis.choice_counts:
        parts += [
            heading("Choices"),
            pairs({name: _counts(found) for name, found in kpis.choice_counts.items()}),
        ]
    if kpis.collisions:
        taken = {name: _taken_by(value) for name, value in kpis.collisions.items()}
        parts += [heading("Figures with the same name as an evaluation"), pairs(taken)]
    return Group(*parts, *misfits_section(kpis.misfits))


def _taken_by(sent: "sdk.JsonValue") -> str:
    if isinstance(sent, int | float):
        return f"{format_number(sent)} was sent. This may be the average of the evaluation"
    return "replaced by the evaluation's choices"


def _figures(kpis: "sdk.ExecutionKPIs") -> dict[str, str | None]:
    """Return the figures of the agent's type, and those of the other type that are not zero."""
    found = {label: _figure(kpis, name, unit) for name, label, unit in _FOR_ALL}
    for group, other_type in ((_FOR_VOICE, "text"), (_FOR_TEXT, "voice")):
        for name, label, unit in group:
            if getattr(kpis, name) or kpis.agent_type != other_type:
                found[label] = _figure(kpis, name, unit)
    return found


def _figure(kpis: "sdk.ExecutionKPIs", name: str, unit: str) -> str | None:
    return "doubtful, see below" if name in kpis.collisions else format_number(getattr(kpis, name), unit)


def _counts(choices: Mapping[str, int]) -> str:
    return ", ".join(f"{choice} {count:,}" for choice, count in choices.items())
