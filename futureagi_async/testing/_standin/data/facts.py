"""What a call says about itself (score, turns, costs, ...), made from its id, number and state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.clock import MINUTE_US
from futureagi_async.testing._standin.data.records import CallFacts
from futureagi_async.testing._standin.data.scenarios import StoredEvals, entry_of, stored_evals
from futureagi_async.testing._standin.data.values import (
    ENDED_REASONS,
    SUMMARIES,
    Chat,
    Costs,
    Speech,
    chat_measures,
    chat_turns,
    costs_of,
    seeded_random,
    seeded_uuid,
    speech_measures,
    voice_turns,
)

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import Call
    from futureagi_async.testing._standin.data.values import Turn

_HAPPENED = ("completed", "failed", "analyzing")


def facts_of(call: Call) -> CallFacts:
    """Return the call's content: made on first use, the same for the same id, state and revision."""
    if call.facts is None:
        call.facts = _make(call)
    return call.facts


def _make(call: Call) -> CallFacts:
    bare, voice = _is_bare(call), call.kind == "voice"
    happened = call.status in _HAPPENED and not bare
    id_, n, slim = call.id, call.number, call.run_test.slim
    evals: StoredEvals = {}
    if call.state.evaluated:
        evals = stored_evals(call.run_test.evals, id_, n, slim=slim)
    if call.evals_done is not None:
        evals = {key: _settled(entry, done=call.evals_done) for key, entry in evals.items()}
    return CallFacts(
        turns=_turns(call) if happened else (),
        score=_score(call) if happened else None,
        evals=evals,
        speech=speech_measures(id_, n, slim=slim) if happened and voice else Speech(),
        chat=chat_measures(id_, n, slim=slim) if happened and not voice else Chat(),
        costs=costs_of(n, slim=slim) if happened and voice else Costs(),
        **_identity(call, bare),
        **_outcome(call, happened),
    )


def _settled(entry: Any, *, done: bool) -> Any:
    """Return a result that is there, or is not, whatever the sample has."""
    if not done:
        return {"status": "pending"}
    is_pending = entry == {"status": "pending"}
    return entry_of("Politeness", "score", 0.5, "weighed at last") if is_pending else entry


def _is_bare(call: Call) -> bool:
    """Tell whether nothing but its existence is known of a call: every eighth of a sparse run test."""
    return call.run_test.sparse and call.number % 8 == 0


def _identity(call: Call, bare: bool) -> dict[str, Any]:
    n, voice = call.number, call.kind == "voice"
    dataset = call.scenario.dataset
    rows = dataset.rows if dataset and not bare else ()
    return {
        "scenario": call.scenario,
        "cells": rows[n // 4 % len(rows)] if rows and n % 20 != 16 else None,
        "direction": "outbound" if n % 3 == 0 else "inbound",
        "phone": f"+4144{n:07d}" if voice and not bare else None,
        "customer_number": f"+4179{n:07d}" if voice and not bare and n % 5 else None,
        "customer_call_id": f"prov-{n:06d}" if voice and not bare and n % 7 else None,
        "session_id": f"session-{n}" if n % 6 == 0 and not bare else None,
        "simulated": not (call.run_test.sparse and n % 5 == 1),
    }


def _outcome(call: Call, happened: bool) -> dict[str, Any]:
    n, voice = call.number, call.kind == "voice"
    recorded = happened and voice and call.status == "completed" and not call.run_test.slim
    audio = f"https://recordings.example.com/{call.id}"
    summary = SUMMARIES[n % len(SUMMARIES)] if happened else None
    return {
        "started_us": call.created_us + MINUTE_US if happened else None,
        "duration_seconds": _duration(call) if happened and voice else None,
        "response_ms": 400 + n * 37 % 1100 if happened and voice else None,
        "audio_url": f"{audio}.mp3" if recorded and n % 9 else None,
        "stereo_url": f"{audio}-stereo.wav" if recorded and n % 4 else None,
        "ended_reason": ENDED_REASONS[n % len(ENDED_REASONS)] if happened else None,
        "summary": f"{summary or ''} (revision {call.revision})" if call.revision else summary,
        "tool_outputs": _tool_outputs(call) if happened and voice else None,
        "skipped": happened and n % 40 == 13,
    }


def _turns(call: Call) -> tuple[Turn, ...]:
    if call.run_test.slim or call.status == "failed":
        return ()
    turns = voice_turns if call.kind == "voice" else chat_turns
    return turns(call.id, call.number, call.created_us)


def _duration(call: Call) -> int:
    return 0 if call.status == "failed" else 20 + call.number * 7 % 180


def _score(call: Call) -> float | None:
    """0 to 10 with one decimal: every nineteenth is exactly zero, every thirteenth is missing."""
    if call.status == "analyzing" or call.number % 13 == 4:
        return None
    if call.run_test.slim:
        return call.number % 101 / 10
    return 0.0 if call.number % 19 == 2 else round(seeded_random(call.id, "score").uniform(0, 10), 1)


def _tool_outputs(call: Call) -> dict[str, Any] | None:
    if call.number % 3 == 0 or call.run_test.slim:
        return None
    if call.number % 3 == 1:
        return {}
    check = {"value": "Passed", "reason": "found", "type": "Pass/Fail", "name": "find_parcel #1"}
    return {tool_eval_id(call.run_test.id): check | {"error": False, "status": "completed"}}


def tool_eval_id(run_test_id: str) -> str:
    """Return the id of a run test's tool evaluation."""
    return seeded_uuid(run_test_id, "tool")
