"""The shapes of records on the wire, and which of their keys fill which field.

A value that does not fit its key's type (a misfit, see `misfits`) is as good as null. Where null itself
says something, the misfit is `UNSET`: `RecordWire.is_snapshot` and ``created_at``, `TurnWire.content`,
`EvalWire.error` and ``skipped``.
"""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from futureagi_async.models.call import PART_KEYS, PROVIDER_DATA
from futureagi_async.sources import AgentVersionCalls, CallSource, TestExecutionCalls

Number = int | float | None
Convertible = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]  # a larger one can't become seconds
MaybeNumber = Convertible | float | None | UnsetType
MaybeText = str | None | UnsetType
MaybeTime = datetime | None | UnsetType
Count = Annotated[int, msgspec.Meta(ge=0)]


class ScenarioWire(Struct):
    """A run-test row's scenario as documented."""

    id: str | None = None
    name: str | None = None


class RecordWire(Struct, gc=False):
    """A call row of every kind: its scalars, and its nested parts as bytes.

    The order is that of the served listings, as the decoder looks for a key behind the one before first. In
    another order, decoding a record takes an eighth more.
    """

    id: str
    service_provider_call_id: str | None = None
    session_id: str | None = None
    timestamp: MaybeTime = UNSET
    call_type: str | None = None
    status: str | None = None
    started_at: MaybeTime = UNSET
    duration: MaybeNumber = UNSET
    duration_seconds: MaybeNumber = UNSET
    recording_url: MaybeText = UNSET
    start_time: MaybeTime = UNSET
    call_metadata: Raw | UnsetType = UNSET  # only to know whether it is there
    scenario_name: MaybeText = UNSET
    transcript: Raw | UnsetType = UNSET
    transcripts: Raw | UnsetType = UNSET
    scenario: str | ScenarioWire | UnsetType | None = UNSET
    created_at: MaybeTime = None
    updated_at: MaybeTime = UNSET
    provider_call_data: Raw | UnsetType = UNSET  # the same
    overall_score: Number = None
    response_time: MaybeNumber = UNSET
    response_time_ms: MaybeNumber = UNSET
    response_time_seconds: MaybeNumber = UNSET
    audio_url: MaybeText = UNSET
    customer_name: MaybeText = UNSET
    customer_number: MaybeText = UNSET
    eval_outputs: Raw | UnsetType = UNSET
    eval_metrics: Raw | UnsetType = UNSET
    scenario_columns: Raw | UnsetType = UNSET
    ended_reason: str | None = None
    simulator_agent_name: MaybeText = UNSET
    simulatorAgentName: MaybeText = UNSET  # noqa: N815 - the documents' spelling
    simulator_agent_id: MaybeText = UNSET
    simulatorAgentId: MaybeText = UNSET  # noqa: N815
    agent_definition_used_name: str | None = None
    agent_definition_used_id: str | None = None
    call_summary: str | None = None
    recordings: Raw | UnsetType = UNSET
    test_execution_id: str | None = None
    scenario_id: str | None = None
    avg_agent_latency: MaybeNumber = UNSET
    avg_agent_latency_ms: MaybeNumber = UNSET
    user_interruption_count: Number = None
    user_interruption_rate: Number = None
    user_wpm: Number = None
    bot_wpm: Number = None
    talk_ratio: Number = None
    ai_interruption_count: Number = None
    ai_interruption_rate: Number = None
    avg_stop_time_after_interruption: MaybeNumber = UNSET
    avg_stop_time_after_interruption_ms: MaybeNumber = UNSET
    total_tokens: Number = None
    input_tokens: Number = None
    output_tokens: Number = None
    avg_latency_ms: Number = None
    turn_count: Number = None
    csat_score: Number = None
    stt_cost: Number = None
    llm_cost: Number = None
    tts_cost: Number = None
    storage_cost: Number = None
    total_cost: Number = None
    rerun_snapshots: Raw | UnsetType = UNSET
    is_snapshot: bool | UnsetType | None = None
    snapshot_timestamp: MaybeTime = UNSET
    rerun_type: str | None = None
    original_call_execution_id: MaybeText = UNSET
    tool_outputs: Raw | UnsetType = UNSET
    simulation_call_type: str | None = None


class TurnWire(Struct, gc=False):
    """A transcript turn in any of its three shapes."""

    role: MaybeText = UNSET
    speaker_role: MaybeText = UNSET
    messages: list[str] | UnsetType = UNSET
    content: str | list[Raw] | UnsetType | None = (
        None  # a list is `messages` once more: nothing looks into it
    )
    start_time_ms: MaybeNumber = UNSET
    start_time_seconds: MaybeNumber = UNSET
    end_time_ms: MaybeNumber = UNSET
    end_time_seconds: MaybeNumber = UNSET


class EvalWire(Struct, gc=False):
    """An evaluation's result in either shape."""

    value: object = UNSET
    output: object = UNSET
    reason: str | None = None
    type: MaybeText = UNSET
    output_type: MaybeText = UNSET
    name: str | None = None
    error: bool | str | UnsetType | None = None
    status: str | None = None
    skipped: bool | UnsetType | None = None


EvalEntry = EvalWire | str | int | float | bool | list[object] | None
"""A result; the legacy ones are bare values."""


class PartsWire(Struct, gc=False):
    """The nested parts of a call row."""

    transcript: list[TurnWire] | UnsetType | None = UNSET
    transcripts: list[TurnWire] | UnsetType | None = UNSET
    eval_outputs: dict[str, EvalEntry] | UnsetType | None = UNSET
    eval_metrics: dict[str, object] | UnsetType | None = UNSET
    scenario_columns: dict[str, object] | list[object] | UnsetType | None = UNSET
    recordings: dict[str, object] | UnsetType | None = UNSET
    tool_outputs: dict[str, object] | UnsetType | None = UNSET
    rerun_snapshots: list[Raw] | UnsetType | None = UNSET


class ColumnWire(Struct):
    """A grid column's known keys."""

    id: str
    column_name: str | None = None
    visible: bool | None = None
    data_type: str | None = None
    type: str | None = None
    scenario_id: str | None = None
    dataset_id: str | None = None
    eval_config: dict[str, object] | None = None


class ListWire(Struct):
    """Any list's envelope; the records stay bytes."""

    count: Count
    results: list[Raw]
    next: str | None = None
    total_pages: Count | None = None
    current_page: Count | None = None
    status: str | None = None
    provider: str | None = None
    agent_type: str | None = None
    column_order: list[Raw] | None = None
    error_messages: list[str] | None = None


TIMES = {
    "timestamp": ("timestamp", "updated_at"),
    "start_time": ("start_time", "started_at"),
    "created_at": ("created_at",),
    "snapshot_timestamp": ("snapshot_timestamp",),
}
"""Keys that fill the fields of times, which are UTC where they name no zone; the first one present does."""

SECONDS = {
    "response_time": ("response_time", "response_time_seconds", "response_time_ms"),
    "avg_agent_latency": ("avg_agent_latency", "avg_agent_latency_ms"),
    "avg_stop_time_after_interruption": (
        "avg_stop_time_after_interruption",
        "avg_stop_time_after_interruption_ms",
    ),
}
"""The same for latencies in seconds, of which a key that ends so sends milliseconds."""

MILLISECONDS_BESIDE_MS = ("avg_agent_latency", "avg_stop_time_after_interruption")
"""Keys that send milliseconds, too, in records that have ``avg_agent_latency_ms``: the served dialect."""

SCALAR_KEYS = {
    "duration": ("duration", "duration_seconds"),
    "customer_name": ("customer_name", "customer_number"),
    "audio_url": ("audio_url", "recording_url"),
    "simulator_agent_name": ("simulator_agent_name", "simulatorAgentName"),
    "simulator_agent_id": ("simulator_agent_id", "simulatorAgentId"),
    "original_call_execution_id": ("original_call_execution_id",),
    **TIMES,
    **SECONDS,
}
"""The same for every scalar that several keys can fill, or whose absence is told from null."""

PARTS = tuple(key for key in PART_KEYS if key != "transcripts")
"""The fields that they fill."""

CALL_KEYS = {
    **SCALAR_KEYS,
    "scenario": ("scenario", "scenario_name"),
    "transcript": ("transcript", "transcripts"),
}
"""The same for every field of a call."""

TURN_KEYS = {
    "role": ("role", "speaker_role"),
    "content": ("messages", "content"),
    "start_seconds": ("start_time_seconds", "start_time_ms"),
    "end_seconds": ("end_time_seconds", "end_time_ms"),
}
"""The same for a turn."""

EVAL_KEYS = {"value": ("value", "output"), "type": ("type", "output_type")}
"""The same for an evaluation's result."""

ELSEWHERE = frozenset({"scenario", "scenario_name", "is_snapshot", *PROVIDER_DATA})
"""Keys that `calls` looks at itself."""


WITHHOLDING = frozenset((TestExecutionCalls, AgentVersionCalls))
"""The kinds of lists that send ``[]`` for some transcripts that they keep back."""


def withholds(source: CallSource | None, record: bytes, call_type: str | None) -> bool:
    """Whether an empty transcript means "ask for the detail" rather than "nothing was said".

    ``call_type`` is the record's ``simulation_call_type``.
    """
    if isinstance(source, TestExecutionCalls):
        return b'"duration_seconds":' in record  # the served dialect, which never sends one here
    return isinstance(source, AgentVersionCalls) and call_type == "text"


def from_ms(milliseconds: float | UnsetType | None) -> float | None:
    """Return seconds; ``None`` where nothing was sent."""
    return None if milliseconds is UNSET or milliseconds is None else milliseconds / 1000


def is_skipped(skipped: bool | UnsetType | None, status: str | None) -> bool | None:
    """Whether an evaluation was skipped; the listings say it in two ways. `UNSET` is a misfit."""
    return None if skipped is UNSET else bool(skipped) or status == "skipped"


def is_pending(value: object, status: str | None) -> bool:
    """Whether an evaluation is still to be done; ``value`` is `UNSET` where none was sent."""
    return value is UNSET and status in (None, "pending")
