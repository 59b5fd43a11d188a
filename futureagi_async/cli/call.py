"""The command `call`, and the layout of a call on a terminal."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.text import Text

import futureagi_async as sdk
from futureagi_async.cli.connection import AsJson, Connection, choose_id, connect, read_one
from futureagi_async.cli.formatting import (
    Column,
    clean,
    format_number,
    format_time,
    heading,
    misfits_section,
    one_line,
    pairs,
    status_text,
    table,
    to_json,
    turns,
)
from futureagi_async.cli.running import (
    print_found,
)


def call(
    call_id: Annotated[
        str | None, Parameter(metavar="ID", help="The id of the call execution. Not needed with --demo.")
    ] = None,
    /,
    *,
    as_json: AsJson = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> int:
    """Show a call: its facts, scores, evaluations and transcript."""
    with connect(connection) as endpoint:
        wanted = choose_id(call_id, "A call's id", endpoint, lambda samples: samples.call_execution_ids()[4:])
        found, names = read_one(endpoint, lambda session: _read(session, wanted, with_names=not as_json))
    return print_found(partial(render_call, names=names), found, [found.raw], as_json=as_json)


async def _read(
    session: "sdk.Session", call_id: UUID, *, with_names: bool
) -> "tuple[sdk.CallExecution, Mapping[str, str]]":
    """Read a call, and the names of its pending evaluations from the columns of its test execution."""
    call = await session.get_call_execution(call_id)
    nameless = {output.id for output in (call.eval_outputs or {}).values() if not output.name}
    if not (with_names and nameless and call.test_execution_id):
        return call, {}
    try:
        page = await session.get_test_execution(call.test_execution_id, limit=1)
    except (sdk.FutureAGIError, ValueError):  # show the call without these names
        return call, {}
    return call, {column.id: column.column_name or column.id for column in page.column_order}


_FIGURES = (
    ("overall_score", "Overall score", ""),
    ("csat_score", "Customer satisfaction", ""),
    ("response_time", "Response time", "s"),
    ("avg_agent_latency", "Agent latency", "s"),
    ("avg_stop_time_after_interruption", "Stop after interruption", "s"),
    ("user_interruption_count", "User interruptions", ""),
    ("user_interruption_rate", "User interruption rate", ""),
    ("ai_interruption_count", "AI interruptions", ""),
    ("ai_interruption_rate", "AI interruption rate", ""),
    ("user_wpm", "User speed", "words/min"),
    ("bot_wpm", "Agent speed", "words/min"),
    ("talk_ratio", "Talk ratio", ""),
    ("turn_count", "Turns", ""),
    ("total_tokens", "Tokens", ""),
    ("input_tokens", "Input tokens", ""),
    ("output_tokens", "Output tokens", ""),
    ("avg_latency_ms", "Latency", "ms"),
    ("total_cost", "Cost", "USD"),
)
_ROLE_STYLES = {"user": "cyan", "assistant": "green"}


def render_call(call: "sdk.CallExecution", names: Mapping[str, str]) -> RenderableType:
    """Return facts, scores, evaluations, summary and transcript. ``names`` are the names of evaluations."""
    title = Text("Snapshot " if call.is_snapshot else "Call ", style="bold")
    title.append(clean(call.id)).append("  ").append_text(status_text(call.status))
    parts: list[RenderableType] = [title, pairs(_facts(call))]
    scores = {label: format_number(getattr(call, name), unit) for name, label, unit in _FIGURES}
    if any(scores.values()):
        parts += [heading("Scores and measures"), pairs(scores)]
    if call.eval_outputs:
        parts += [heading("Evaluations"), _evaluations(call.eval_outputs.values(), names)]
    if call.call_summary:
        parts += [heading("Summary"), Text(clean(call.call_summary))]
    parts += [heading("Transcript"), _transcript(call.transcript)]
    return Group(
        *parts, *misfits_section(call.misfits)
    )  # last, because reading the other parts finds more misfits


def _facts(call: "sdk.CallExecution") -> Mapping[str, str | None]:
    scenario = call.scenario
    kind = (call.simulation_call_type, call.call_type)
    return {
        "Scenario": (scenario.name or scenario.id) if scenario else None,
        "Kind": ", ".join(filter(None, kind)) or None,
        "Agent": call.agent_definition_used_name,
        "Simulator": call.simulator_agent_name,
        "Customer": call.customer_name,
        "Test execution": call.test_execution_id,
        "Started": format_time(call.start_time),
        "Last change": format_time(call.timestamp),
        "Duration": format_number(call.duration, "s"),
        "Ended because": call.ended_reason,
        "Rerun of": call.original_call_execution_id,
        "Recording": call.recording_urls.get("combined"),
    }


def _evaluations(outputs: "Iterable[sdk.EvalOutput]", names: Mapping[str, str]) -> RenderableType:
    columns = [Column(name, flexible=True) for name in ("Evaluation", "Result", "Reason")]
    rows = [
        [
            Text(one_line(output.name or names.get(output.id, output.id))),
            _result(output),
            Text(one_line(output.reason or "")),
        ]
        for output in outputs
    ]
    return table(columns, rows)


def _result(output: "sdk.EvalOutput") -> Text:
    if output.pending:
        return Text("pending", style="dim")
    if output.skipped:
        return Text("skipped", style="dim")
    if output.error:
        return Text("failed" if output.error is True else one_line(output.error), style="red")
    if output.choices:
        return Text(one_line(", ".join(output.choices)))
    return Text(_shown(output.value))


def _shown(value: "sdk.JsonValue") -> str:
    if value is None or isinstance(value, str):
        return one_line(value or "")
    return one_line(to_json(value).decode())


def _transcript(transcript: "tuple[sdk.TranscriptTurn, ...] | None") -> RenderableType:
    if not transcript:
        return Text("not included in this list" if transcript is None else "none", style="dim")
    rows = []
    for turn in transcript:
        when = "" if turn.start_seconds is None else f"{turn.start_seconds:.1f} s"
        role = one_line(turn.role or "?")
        rows.append((when, Text(role, _ROLE_STYLES.get(role, "magenta")), clean(turn.content or "")))
    return turns(rows)
