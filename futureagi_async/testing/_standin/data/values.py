"""Sample values that follow from a seed: ids, numbers, wordings, turns; and unit conversions."""

from __future__ import annotations

import random
import uuid
from functools import lru_cache

from attrs import frozen

from futureagi_async.testing._standin.clock import MINUTE_US, SECOND_US

_NAMESPACE = uuid.UUID("5f2d7c1e-86a4-4b0e-9d53-0c8be1a7f294")


def seeded_random(*parts: object) -> random.Random:
    """Return a generator of its own for these parts, so that no draw depends on what was drawn elsewhere."""
    return random.Random(":".join(map(str, parts)))  # noqa: S311 - sample data, no secrets


@lru_cache(maxsize=8192)  # each server of a test has the same ids, which are half the cost of its data
def seeded_uuid(*parts: object) -> str:
    """Return a lower-case UUID for these parts."""
    return str(uuid.uuid5(_NAMESPACE, ":".join(map(str, parts))))


def seconds(ms: float | None) -> float | None:
    """Milliseconds as seconds, to the millisecond."""
    return None if ms is None else round(ms / 1000, 3)


def dollars(cents: int | None) -> float | None:
    """Cents as US dollars."""
    return None if cents is None else cents / 100


def mean(values: list[float], digits: int) -> float:
    """Return the rounded mean; 0.0 for no values, which is what the vendor sends for "no data"."""
    return round(sum(values) / len(values), digits) if values else 0.0


VOICE_LINES = (
    "Hi, this is the service desk. What can I do for you?",
    "Mein Paket ist seit drei Wochen unterwegs — wo bleibt es? 📦",
    "שלום, אני רוצה לבטל את ההזמנה שלי",
    "荷物がまだ届いていません。確認してください。",
    'She said "call me back", then hung up; it\'s in C:\\notes\\new.txt',
    "=1+1",
    "",
    "طلبت استرداد المبلغ ولم يصلني شيء",
    "Zeile eins\nZeile zwei\tmit Tabulator",
    "@SUM(A1:A9)",
    "<b>not bold</b> &amp; not an entity",
    "우편번호는 04524입니다. 감사합니다 🙏🏽",
    "-2 degrees outside, +3 inside",
    "Null, None, NaN and true are just words here",
    "emoji family: 👩‍👩‍👧‍👦, flag: 🇨🇭, combining: e\u0301",
    "a line separator\u2028and a zero\u200bwidth space",
)

SUMMARIES = (
    "The caller's parcel was traced and will arrive tomorrow.",
    "Rückfrage zur Rechnung, offen geblieben 🧾",
    None,
    '=HYPERLINK("https://example.com")',
    "顧客は満足して電話を切った。",
    "لم تُحل المشكلة",
)

ENDED_REASONS = (
    "customer-ended-call",
    "assistant-ended-call",
    "silence-timed-out",
    None,
    'provider error: "no route" (code 17)',
)


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
            text=VOICE_LINES[(number + i) % len(VOICE_LINES)],
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
            text=VOICE_LINES[(number * 3 + i) % len(VOICE_LINES)],
            start_ms=6400 * i,
            end_ms=6400 * i,
            created_us=begin + i * (6 * SECOND_US + 400_250),
        )
        for i in range(3 + number % 4)
    )


@frozen
class Speech:
    """Voice only. Milliseconds, words a minute, interruptions a minute; the ratio is agent to caller."""

    agent_latency_ms: int | None = None
    user_interruptions: int | None = None
    user_interruption_rate: float | None = None
    user_wpm: float | None = None
    bot_wpm: float | None = None
    talk_ratio: float | None = None
    ai_interruptions: int | None = None
    ai_interruption_rate: float | None = None
    stop_ms: int | None = None
    talk_percentage: float | None = None
    turn_count: int | None = None


@frozen
class Chat:
    """Text only. The server reads these from free JSON: whole numbers or not."""

    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_ms: float | None = None
    turn_count: int | None = None
    csat: float | None = None


@frozen
class Costs:
    """Whole cents of the simulation, and what the customer's agent cost."""

    simulation: int | None = None
    customer: int | None = None
    speech_to_text: int | None = None
    model: int | None = None
    text_to_speech: int | None = None


def speech_measures(call_id: str, number: int, *, slim: bool) -> Speech:
    if slim:
        return Speech(agent_latency_ms=300 + number % 200)
    draw, n = seeded_random(call_id, "speech"), number
    ratio = round(draw.uniform(0.4, 2.2), 2)
    return Speech(
        agent_latency_ms=250 + draw.randrange(600),
        user_interruptions=n % 4,
        user_interruption_rate=round(n % 4 * 0.75, 2),
        user_wpm=round(draw.uniform(90, 180), 1),
        bot_wpm=round(draw.uniform(120, 170), 1),
        talk_ratio=ratio if n % 11 else None,
        ai_interruptions=n % 3,
        ai_interruption_rate=round(n % 3 * 1.125, 3),
        stop_ms=480 + n % 5 * 90 if n % 3 else None,
        talk_percentage=round(100 * ratio / (1 + ratio), 1) if n % 11 else None,
        turn_count=1 + n % 7,
    )


def chat_measures(call_id: str, number: int, *, slim: bool) -> Chat:
    if slim:
        return Chat(total_tokens=number % 900)
    draw, n = seeded_random(call_id, "chat"), number
    read, written = 200 + draw.randrange(400), 300 + draw.randrange(900)
    return Chat(
        total_tokens=read + written,
        input_tokens=read,
        output_tokens=written,
        latency_ms=700 + n % 300 if n % 4 else 812.5,
        turn_count=3 + n % 4,
        csat=round(draw.uniform(1, 10), 1) if n % 5 else None,
    )


def costs_of(number: int, *, slim: bool) -> Costs:
    if slim:
        return Costs(simulation=number % 30)
    customer = number * 3 % 41 if number % 6 else None
    return Costs(number % 30, customer, speech_to_text=1, model=2 + number % 3, text_to_speech=3)
