"""The command `kpis`, and how key figures look on a terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from futureagi_async import ExecutionKPIs
from futureagi_async.cli.connection import AsJson, Connection, ExecutionId, choose_id, connect, read_one
from futureagi_async.cli.formatting import format_number, heading, misfits_section, pairs
from futureagi_async.cli.running import print_found

if TYPE_CHECKING:
    pass


def kpis(
    execution_id: ExecutionId = None,
    /,
    *,
    as_json: AsJson = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Show a test execution's key figures."""
    with connect(connection) as endpoint:
        wanted = choose_id(
            execution_id, "A test execution's id", endpoint, lambda samples: samples.test_execution_ids
        )
        found = read_one(endpoint, lambda session: session.get_kpis(wanted))
    return print_found(render_kpis, found, [found.raw], as_json=as_json)


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


def render_kpis(kpis: ExecutionKPIs) -> RenderableType:
    """Return the figures, the averages of evaluations and the counts of choices."""
    direction = {True: "inbound", False: "outbound", None: None}[kpis.is_inbound]
    agent = ", ".join(filter(None, (kpis.agent_type, direction))) or None
    parts: list[RenderableType] = [
        Text("Key figures", style="bold"),
        pairs({"Agent": agent} | _figures(kpis)),
        Text("Averages a call. The server also says 0 where it has no data.", style="dim"),
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
        names = ", ".join(kpis.collisions)
        parts += [heading("Replaced by an evaluation of the same name"), pairs({"Figures": names})]
    return Group(*parts, *misfits_section(kpis.misfits))


def _figures(kpis: ExecutionKPIs) -> dict[str, str | None]:
    """Return what the agent's type has; of the other type's figures, what is not zero."""
    found = {label: format_number(getattr(kpis, name), unit) for name, label, unit in _FOR_ALL}
    for group, other_type in ((_FOR_VOICE, "text"), (_FOR_TEXT, "voice")):
        for name, label, unit in group:
            value = getattr(kpis, name)
            if value or kpis.agent_type != other_type:
                found[label] = format_number(value, unit)
    return found


def _counts(choices: Mapping[str, int]) -> str:
    return ", ".join(f"{choice} {count:,}" for choice, count in choices.items())
