"""Generates the function that copies a wire struct's scalars into a call.

Written out as one line a field, it takes a quarter of the time of a loop over ``setattr`` and
``getattr`` (``python -m benchmarks.decode_page`` shows what a page costs), and its sixty lines say
nothing that the tables below do not.
"""

from collections.abc import Callable, Iterator, Sequence
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
    "original_call_execution_id": ("original_call_execution_id",),
}
"""Fields that several keys can fill; the first one present does."""

TIMES = {
    "timestamp": ("timestamp", "updated_at"),
    "start_time": ("start_time", "started_at"),
    "created_at": ("created_at",),
    "snapshot_timestamp": ("snapshot_timestamp",),
}
"""The same for times, which are UTC where they name no zone."""

SECONDS = {
    "response_time": ("response_time", "response_time_seconds", "response_time_ms"),
    "avg_agent_latency": ("avg_agent_latency", "avg_agent_latency_ms"),
    "avg_stop_time_after_interruption": (
        "avg_stop_time_after_interruption",
        "avg_stop_time_after_interruption_ms",
    ),
}
"""The same for times in seconds, of which a key that ends so sends milliseconds."""

MILLISECONDS_BESIDE_MS = ("avg_agent_latency", "avg_stop_time_after_interruption")
"""Keys that send milliseconds, too, in records that have ``avg_agent_latency_ms``: the served dialect."""

PROVIDER_DATA = ("call_metadata", "provider_call_data")
"""Keys that are kept in ``extra``; here it only matters whether they are there."""

ELSEWHERE = frozenset({"scenario", "scenario_name", "is_snapshot", "rerun_snapshots", *PROVIDER_DATA})
"""Keys that `calls` looks at itself."""

Copy: TypeAlias = Callable[[CallExecution, CallWire], None]


def make_copy() -> Copy:
    """Return ``copy(call, wire)``."""
    tables = FIRST_OF | TIMES | SECONDS
    chosen = {key for keys in tables.values() for key in keys} | ELSEWHERE
    lines = ["def copy(call, wire):", "    call.is_snapshot = False"]
    lines += [f"    call.{name} = wire.{name}" for name in CallWire.__struct_fields__ if name not in chosen]
    for name, keys in tables.items():
        lines += [*_choose(name, keys), f"    call.{name} = value"]
    names: dict[str, Any] = {"UNSET": UNSET, "UTC": UTC}
    exec("\n".join(lines), names)  # noqa: S102 - made of the names above alone
    made: Copy = names["copy"]
    return made


def _choose(name: str, keys: Sequence[str]) -> Iterator[str]:
    """Yield the lines that find a field's value: of the first key present, in the field's unit."""
    yield f"    value = wire.{keys[0]}"
    if name in MILLISECONDS_BESIDE_MS:
        yield "    if value and wire.avg_agent_latency_ms is not UNSET: value /= 1000"
    for key in keys[1:]:
        yield "    if value is UNSET:"
        yield f"        value = wire.{key}"
        if key.endswith("_ms"):
            yield "        if value: value /= 1000"
    yield "    if value is UNSET: value = None"
    if name in TIMES:
        yield "    elif value is not None and value.tzinfo is None: value = value.replace(tzinfo=UTC)"
