"""The analysed fields: numbers with their units, and fields whose values are counted."""

from collections.abc import Mapping
from typing import Final

FIELDS: Final[Mapping[str, str]] = {
    "overall_score": "",
    "csat_score": "",
    "duration": "s",
    "response_time": "s",
    "avg_agent_latency": "s",
    "avg_latency_ms": "ms",
    "avg_stop_time_after_interruption": "s",
    "user_interruption_count": "",
    "user_interruption_rate": "a minute",
    "ai_interruption_count": "",
    "ai_interruption_rate": "a minute",
    "talk_ratio": "",
    "user_wpm": "words/min",
    "bot_wpm": "words/min",
    "turn_count": "",
    "total_tokens": "",
    "input_tokens": "",
    "output_tokens": "",
    "total_cost": "$",
    "stt_cost": "$",
    "llm_cost": "$",
    "tts_cost": "$",
    "storage_cost": "$",
}
"""Numeric fields of `CallExecution`. The documents describe interruption rates as proportions."""

EXTRA: Final[Mapping[str, str]] = {
    "cost_cents": "cents",
    "customer_cost_cents": "cents",
    "agent_talk_percentage": "%",
}
"""Undocumented numbers of the served API, which are in ``extra``."""

MEASURES: Final[Mapping[str, str]] = {**FIELDS, **EXTRA}
"""All measures by name, with their units."""

COUNTED: Final = ("status", "call_type", "simulation_call_type", "ended_reason")
"""The fields whose values are counted."""
