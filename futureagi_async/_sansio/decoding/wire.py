"""What the two dialects put on the wire, as msgspec structs; of these only `ListWire` leaves `decoding`.

A struct names every key either dialect uses. ``UNSET`` tells "absent" from ``null`` where a field can
be filled from several keys.
"""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

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


class CallWire(Struct, gc=False):
    """The scalars of every kind of call row."""

    id: str
    status: str | None = None
    session_id: str | None = None
    service_provider_call_id: str | None = None
    test_execution_id: str | None = None
    simulation_call_type: str | None = None
    call_type: str | None = None
    timestamp: MaybeTime = UNSET
    updated_at: MaybeTime = UNSET
    created_at: datetime | None = None
    start_time: MaybeTime = UNSET
    started_at: MaybeTime = UNSET
    duration: MaybeNumber = UNSET
    duration_seconds: MaybeNumber = UNSET
    scenario: str | ScenarioWire | UnsetType | None = UNSET
    scenario_name: MaybeText = UNSET
    scenario_id: str | None = None
    overall_score: Number = None
    customer_name: MaybeText = UNSET
    customer_number: MaybeText = UNSET
    call_summary: str | None = None
    ended_reason: str | None = None
    audio_url: MaybeText = UNSET
    recording_url: MaybeText = UNSET
    simulator_agent_name: MaybeText = UNSET
    simulatorAgentName: MaybeText = UNSET  # noqa: N815 - the documents' spelling
    simulator_agent_id: MaybeText = UNSET
    simulatorAgentId: MaybeText = UNSET  # noqa: N815
    agent_definition_used_name: str | None = None
    agent_definition_used_id: str | None = None
    response_time: MaybeNumber = UNSET
    response_time_seconds: MaybeNumber = UNSET
    response_time_ms: MaybeNumber = UNSET
    avg_agent_latency: MaybeNumber = UNSET
    avg_agent_latency_ms: MaybeNumber = UNSET
    avg_stop_time_after_interruption: MaybeNumber = UNSET
    avg_stop_time_after_interruption_ms: MaybeNumber = UNSET
    user_interruption_count: Number = None
    user_interruption_rate: Number = None
    user_wpm: Number = None
    bot_wpm: Number = None
    talk_ratio: Number = None
    ai_interruption_count: Number = None
    ai_interruption_rate: Number = None
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
    is_snapshot: bool | None = None
    original_call_execution_id: MaybeText = UNSET
    snapshot_timestamp: MaybeTime = UNSET
    rerun_type: str | None = None
    # only to know whether they are there
    call_metadata: Raw | UnsetType = UNSET
    provider_call_data: Raw | UnsetType = UNSET
    rerun_snapshots: Raw | UnsetType = UNSET


class TurnWire(Struct, gc=False):
    """A transcript turn in any of its three shapes."""

    role: MaybeText = UNSET
    speaker_role: MaybeText = UNSET
    content: str | list[Raw] | None = None  # a list is `messages` once more: nothing looks into it
    messages: list[str] | UnsetType = UNSET
    start_time_seconds: MaybeNumber = UNSET
    start_time_ms: MaybeNumber = UNSET
    end_time_seconds: MaybeNumber = UNSET
    end_time_ms: MaybeNumber = UNSET


class EvalWire(Struct, gc=False):
    """An evaluation's result in either shape."""

    name: str | None = None
    value: object = UNSET
    output: object = UNSET
    type: MaybeText = UNSET
    output_type: MaybeText = UNSET
    reason: str | None = None
    status: str | None = None
    error: bool | str | None = None
    skipped: bool | None = None


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


class RawPartsWire(Struct, gc=False):
    """The same as bytes, for when one of them is malformed."""

    transcript: Raw | UnsetType = UNSET
    transcripts: Raw | UnsetType = UNSET
    eval_outputs: Raw | UnsetType = UNSET
    eval_metrics: Raw | UnsetType = UNSET
    scenario_columns: Raw | UnsetType = UNSET
    recordings: Raw | UnsetType = UNSET
    tool_outputs: Raw | UnsetType = UNSET
    rerun_snapshots: Raw | UnsetType = UNSET


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
