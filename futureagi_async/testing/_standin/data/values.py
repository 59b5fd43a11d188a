"""The numbers of a call: speech, chat and costs."""

from __future__ import annotations

from attrs import frozen

from futureagi_async.testing._standin.seeding import seeded_random


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
