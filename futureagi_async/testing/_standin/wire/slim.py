"""Rows with few small fields, for tests that are about many rows and not about what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.clock import iso_utc
from futureagi_async.testing._standin.data.facts import facts_of
from futureagi_async.testing._standin.data.records import CallFacts
from futureagi_async.testing._standin.wire.nested import eval_outputs

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import Call, Snapshot

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
