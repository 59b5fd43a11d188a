"""Writes rows as JSON in the served or the documented dialect, also the small rows of slim lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

from attrs import frozen

from futureagi_async.testing._standin.clock import iso_utc
from futureagi_async.testing._standin.data.facts import facts_of
from futureagi_async.testing._standin.data.records import Call, CallFacts, Row, Snapshot, TestExecution
from futureagi_async.testing._standin.wire import documented_calls, kpis, served_calls, served_versions
from futureagi_async.testing._standin.wire.nested import eval_outputs

Fields = dict[str, Any]


def served_call(call: Call) -> Fields:
    """Return a detail, run-test or test-execution row."""
    facts = facts_of(call)
    return {
        "id": call.id,
        "timestamp": iso_utc(call.key_us),
        "call_type": facts.direction.title(),
        **_said(call, facts),
        "scenario": facts.scenario.name,
        "duration": facts.duration_seconds,
        "transcript": [],
        "eval_outputs": eval_outputs(facts.evals, call.run_test.evals, with_removed=False),
        "is_snapshot": False,
        "original_call_execution_id": None,
    }


def served_version(call: Call) -> Fields:
    facts = facts_of(call)
    return {
        "id": call.id,
        "created_at": iso_utc(call.created_us),
        "updated_at": iso_utc(call.key_us),
        **_said(call, facts),
        "scenario_name": facts.scenario.name,
        "duration_seconds": facts.duration_seconds,
        "transcripts": [],
        "eval_outputs": facts.evals,
        "agent_version": call.version.id,
    }


def documented_call(call: Call) -> Fields:
    """Any documented row: no sort key, only the creation time."""
    facts = facts_of(call)
    return {
        "id": call.id,
        "created_at": iso_utc(call.created_us),
        **_said(call, facts),
        "scenario": facts.scenario.name,
        "duration": facts.duration_seconds,
        "transcript": [],
        "is_snapshot": False,
    }


def served_snapshot(snapshot: Snapshot) -> Fields:
    return _snapshot(snapshot) | {
        "timestamp": iso_utc(snapshot.key_us),
        "original_call_execution_id": snapshot.call.id,
    }


def documented_snapshot(snapshot: Snapshot) -> Fields:
    return _snapshot(snapshot) | {"created_at": iso_utc(snapshot.key_us)}


def _said(call: Call, facts: CallFacts) -> Fields:
    """`call_summary` tells the revision, so that a reader can see which version of the row it got."""
    return {"status": call.status, "overall_score": facts.score, "call_summary": f"revision {call.revision}"}


def _snapshot(snapshot: Snapshot) -> Fields:
    return {"id": snapshot.id, "status": snapshot.state.status, "is_snapshot": True, "transcript": []}


DialectName = Literal["served", "documented"]
RowKind = Literal["detail", "run_test", "version", "execution"]
_ROW_KINDS: tuple[RowKind, ...] = ("detail", "run_test", "version", "execution")

WriteCall = Callable[[Call], dict[str, Any]]
WriteSnapshot = Callable[[Snapshot], dict[str, Any]]


class PoisonedRowError(Exception):
    """A row that no answer can be made of."""


@frozen
class Dialect:
    """How one dialect writes rows and KPIs."""

    name: DialectName
    write_call: dict[RowKind, WriteCall]
    write_slim_call: dict[RowKind, WriteCall]
    write_snapshot: WriteSnapshot
    write_slim_snapshot: WriteSnapshot
    write_kpis: Callable[[TestExecution], dict[str, Any]]

    def row(self, row: Row, kind: RowKind) -> bytes:
        """Return the row's JSON, written once for each version of it.

        Raises:
            PoisonedRowError: the row is a poisoned call's.

        """
        found = row.fragments.get(kind)
        if found is None:
            found = row.fragments[kind] = to_json(self._write(row, kind))
        return found

    def _write(self, row: Row, kind: RowKind) -> dict[str, Any]:
        if isinstance(row, Snapshot):
            return (self.write_slim_snapshot if row.call.run_test.slim else self.write_snapshot)(row)
        if row.poisoned:
            raise PoisonedRowError(row.id)
        return _alter(self._write_call(row, kind), row.altered)

    def _write_call(self, call: Call, kind: RowKind) -> dict[str, Any]:
        return (self.write_slim_call if call.run_test.slim else self.write_call)[kind](call)

    def kpis(self, execution: TestExecution) -> bytes:
        """Return the KPIs of a test execution as JSON."""
        return to_json(_alter(self.write_kpis(execution), execution.altered))

    def keys_of(self, thing: Call | TestExecution) -> set[str]:
        """Return the JSON keys of a call in any of its rows, or of a test execution's KPIs."""
        if isinstance(thing, TestExecution):
            return set(self.write_kpis(thing))
        return {key for kind in _ROW_KINDS for key in self._write_call(thing, kind)}


def _alter(fields: dict[str, Any], altered: dict[str, Any]) -> dict[str, Any]:
    """Replace values under the keys that are there."""
    return fields | {key: value for key, value in altered.items() if key in fields} if altered else fields


def to_json(value: Any) -> bytes:
    """Raw UTF-8 without spaces, as the vendor writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


SERVED = Dialect(
    "served",
    {
        "detail": served_calls.detail,
        "run_test": served_calls.run_test_row,
        "version": served_versions.version_row,
        "execution": served_calls.execution_row,
    },
    {
        "detail": served_call,
        "run_test": served_call,
        "version": served_version,
        "execution": served_call,
    },
    served_calls.snapshot_row,
    served_snapshot,
    kpis.served_kpis,
)

DOCUMENTED = Dialect(
    "documented",
    {
        "detail": documented_calls.detail,
        "run_test": documented_calls.run_test_row,
        "version": documented_calls.version_row,
        "execution": documented_calls.execution_row,
    },
    dict.fromkeys(_ROW_KINDS, documented_call),
    documented_calls.snapshot_row,
    documented_snapshot,
    kpis.documented_kpis,
)
