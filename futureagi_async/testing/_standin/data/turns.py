"""What was said: the turns of a voice call and the messages of a chat, before any dialect spells them."""

from __future__ import annotations

from attrs import frozen

from futureagi_async.testing._standin.data import texts
from futureagi_async.testing._standin.seeding import seeded_uuid
from futureagi_async.testing._standin.times import MINUTE_US, SECOND_US

_ROLES = ("assistant", "user", "assistant", "user", "tool_calls", "tool_call_result", "system")


@frozen
class Turn:
    """One turn. `end_ms` 0 means unknown; a tool's turn in a chat has content but no message."""

    id: str
    role: str
    text: str
    start_ms: int
    end_ms: int
    created_us: int
    confidence: float = 1.0


def voice_turns(call_id: str, number: int, created_us: int) -> tuple[Turn, ...]:
    """One to seven turns; every fifth end is unknown."""
    return tuple(
        Turn(
            id=seeded_uuid(call_id, "turn", i),
            role=_ROLES[i],
            text=texts.VOICE_LINES[(number + i) % len(texts.VOICE_LINES)],
            start_ms=2600 * i,
            end_ms=0 if (number + i) % 5 == 0 else 2600 * i + 2100,
            created_us=created_us + 3 * MINUTE_US,
            confidence=1.0 if i % 2 == 0 else 0.87,
        )
        for i in range(1 + number % 7)
    )


def chat_turns(call_id: str, number: int, created_us: int) -> tuple[Turn, ...]:
    """Three to six messages, a tool's among the longer ones."""
    begin = created_us + MINUTE_US
    roles = ("user", "assistant", "tool", "assistant", "user", "assistant")
    return tuple(
        Turn(
            id=seeded_uuid(call_id, "turn", i),
            role=roles[i],
            text=texts.VOICE_LINES[(number * 3 + i) % len(texts.VOICE_LINES)],
            start_ms=6400 * i,
            end_ms=6400 * i,
            created_us=begin + i * (6 * SECOND_US + 400_250),
        )
        for i in range(3 + number % 4)
    )
