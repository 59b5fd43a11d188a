"""The numbers of a call: speech, chat and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from futureagi_async.testing._standin.seeding import seeded_random

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import Call


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


def speech_measures(call: Call) -> Speech:
    if call.run_test.slim:
        return Speech(agent_latency_ms=300 + call.number % 200)
    draw, n = seeded_random(call.id, "speech"), call.number
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


def chat_measures(call: Call) -> Chat:
    if call.run_test.slim:
        return Chat(total_tokens=call.number % 900)
    draw, n = seeded_random(call.id, "chat"), call.number
    read, written = 200 + draw.randrange(400), 300 + draw.randrange(900)
    return Chat(
        total_tokens=read + written,
        input_tokens=read,
        output_tokens=written,
        latency_ms=700 + n % 300 if n % 4 else 812.5,
        turn_count=3 + n % 4,
        csat=round(draw.uniform(1, 10), 1) if n % 5 else None,
    )


def costs_of(call: Call) -> Costs:
    n = call.number
    if call.run_test.slim:
        return Costs(simulation=n % 30)
    customer = n * 3 % 41 if n % 6 else None
    return Costs(n % 30, customer, speech_to_text=1, model=2 + n % 3, text_to_speech=3)
