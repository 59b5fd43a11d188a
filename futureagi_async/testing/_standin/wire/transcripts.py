"""The turns of a call in their three served spellings and the documented one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.clock import iso_utc_text

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import Call, CallFacts
    from futureagi_async.testing._standin.data.values import Turn

_OUTBOUND_OFFSET_MS = 250


def voice_transcript(facts: CallFacts) -> list[dict[str, Any]]:
    """Return turns with `speaker_role`; seconds include the recording's offset, an unknown end has none."""
    offset = recording_offset_ms(facts)
    return [
        {
            "id": turn.id,
            "speaker_role": turn.role,
            "content": turn.text,
            "start_time_ms": turn.start_ms,
            "start_time_seconds": (turn.start_ms + offset) / 1000,
            "end_time_ms": turn.end_ms,
            "end_time_seconds": (turn.end_ms + offset) / 1000 if turn.end_ms else None,
            "confidence_score": turn.confidence,
            "created_at": iso_utc_text(turn.created_us),
        }
        for turn in facts.turns
    ]


def recording_offset_ms(facts: CallFacts) -> int:
    return _OUTBOUND_OFFSET_MS if facts.direction == "outbound" else 0


def _chat_transcript(call: Call, facts: CallFacts) -> list[dict[str, Any]]:
    """Messages with `role`; the text is in `messages`, `content` is a list of objects."""
    return [
        {
            "id": turn.id,
            "role": turn.role,
            "messages": [] if turn.role == "tool" else [turn.text],
            "content": [{"role": "user", "content": turn.text}],
            "session_id": f"chat-{call.number}",
            "tool_calls": _tool_calls(turn) if turn.role == "assistant" and call.number % 3 == 0 else [],
            "created_at": iso_utc_text(turn.created_us),
        }
        for turn in facts.turns
    ]


def served_transcript(call: Call, facts: CallFacts) -> list[dict[str, Any]]:
    return voice_transcript(facts) if call.kind == "voice" else _chat_transcript(call, facts)


def stored_transcript(turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
    """Return what a rerun snapshot keeps of each turn."""
    return [
        {
            "content": turn.text,
            "end_time_ms": turn.end_ms,
            "speaker_role": turn.role,
            "start_time_ms": turn.start_ms,
            "confidence_score": turn.confidence,
        }
        for turn in turns
    ]


def documented_transcript(turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
    return [{"role": turn.role, "content": turn.text} for turn in turns]


def _tool_calls(turn: Turn) -> list[dict[str, Any]]:
    function = {"name": "find_parcel", "arguments": '{"number": "ZH-17"}'}
    return [{"id": f"call_{turn.id[:8]}", "type": "function", "function": function}]
