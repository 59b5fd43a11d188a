"""Generates the function that copies a wire struct's scalars into a call.

Written out as one line a field, it takes a quarter of the time of a loop over ``setattr`` and
``getattr`` (``python -m benchmarks.decode_page`` shows what a page costs), and its sixty lines say
nothing that the tables below do not.
"""

from collections.abc import Callable
from datetime import UTC
from typing import Any, TypeAlias

from msgspec import UNSET

from futureagi_async._sansio.decoding.wire import CallWire
from futureagi_async.models import CallExecution

FIRST_OF = {
    "duration": ("duration", "duration_seconds"),
    "customer_name": ("customer_name", "customer_number"),
    "audio_url": ("audio_url", "recording_url"),
    "simulator_agent_name": ("simulator_agent_name", "simulatorAgentName"),
    "simulator_agent_id": ("simulator_agent_id", "simulatorAgentId"),
}
"""Fields that several keys can fill; the first one present does."""

TIMES = {
    "timestamp": ("timestamp", "updated_at"),
    "start_time": ("start_time", "started_at"),
    "created_at": ("created_at",),
    "snapshot_timestamp": ("snapshot_timestamp",),
}
"""The same for times, which are UTC where they name no zone."""

COMPUTED = frozenset(
    {
        "scenario",
        "scenario_name",
        "response_time",
        "response_time_seconds",
        "response_time_ms",
        "avg_agent_latency",
        "avg_agent_latency_ms",
        "avg_stop_time_after_interruption",
        "avg_stop_time_after_interruption_ms",
        "is_snapshot",
        "original_call_execution_id",
    }
)
"""Keys that `calls` looks at itself."""

Copy: TypeAlias = Callable[[CallExecution, CallWire], None]


def make_copy() -> Copy:
    """Return ``copy(call, wire)``."""
    chosen = {key for keys in (*FIRST_OF.values(), *TIMES.values()) for key in keys}
    plain = [key for key in CallWire.__struct_fields__ if key not in chosen | COMPUTED]
    lines = ["def copy(call, wire):"]
    lines += [f"    call.{name} = wire.{name}" for name in plain]
    for name, keys in (FIRST_OF | TIMES).items():
        lines.append(f"    value = wire.{keys[0]}")
        lines += [f"    if value is UNSET: value = wire.{key}" for key in keys[1:]]
        lines.append("    if value is UNSET: value = None")
        if name in TIMES:
            lines.append(
                "    elif value is not None and value.tzinfo is None: value = value.replace(tzinfo=UTC)"
            )
        lines.append(f"    call.{name} = value")
    names: dict[str, Any] = {"UNSET": UNSET, "UTC": UTC}
    exec("\n".join(lines), names)  # noqa: S102 - made of the names above alone
    made: Copy = names["copy"]
    return made
