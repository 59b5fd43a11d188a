"""Pages of calls as the two dialects send them, of realistic size; everything follows from a seed."""

import json
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import attrs

Row: TypeAlias = dict[str, Any]

LIST_ROWS = 3_000
"""What every page says of its list."""

_BEGIN = datetime(2026, 1, 8, 9, 0, 0, 123456, tzinfo=UTC)
_SAID = (
    "my order has not arrived and the tracking page still says that it is waiting to be picked up "
    "could you please check once more whether the parcel left the warehouse on Monday or later because "
    "the invoice names another address thank you let me look into this for a moment I can see two "
    "shipments under your number naïve café Zürich"
)
_WORDS = _SAID.split()
_EVALS = (
    ("Politeness", "score"),
    ("Goal Reached", "Pass/Fail"),
    ("Caller Mood", "choices"),
    ("Follows Script", "score"),
)


@attrs.define
class Dice:
    """A source of made-up content."""

    random: random.Random

    def uuid(self) -> str:
        """Return an id."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def text(self, words: int) -> str:
        """Return something said."""
        return " ".join(self.random.choices(_WORDS, k=words)).capitalize() + "."

    def remark(self, words: int) -> str:
        """Return what a model writes about a call: seldom, with marks beyond Latin script."""
        return self.text(words) + (" — resolved 🙂" if self.random.random() < 0.05 else "")

    def time(self) -> str:
        """Return a moment in January."""
        moment = _BEGIN + timedelta(microseconds=self.random.randrange(10**12))
        return moment.isoformat().replace("+00:00", "Z")

    def number(self, highest: float) -> float:
        """Return a number with two decimals."""
        return round(self.random.uniform(0, highest), 2)

    def count(self, highest: int) -> int:
        """Return a whole number below ``highest``."""
        return self.random.randrange(highest)


@attrs.define(frozen=True)
class PageKind:
    """What a page's rows look like."""

    name: str
    row: Callable[[Dice], Row]


def make_page(kind: PageKind, *, rows: int = 100, seed: int = 0) -> bytes:
    """Return one page of a run test's list: raw UTF-8 without spaces, as the served API writes it."""
    dice = Dice(random.Random(f"{kind.name} {seed}"))
    here = "http://127.0.0.1/simulate/run-tests/0/call-executions/"
    page = {
        "count": LIST_ROWS,
        "next": f"{here}?page=2&limit={rows}",
        "previous": None,
        "results": [kind.row(dice) for _ in range(rows)],
        "total_pages": LIST_ROWS // rows,
        "current_page": 1,
    }
    return json.dumps(page, ensure_ascii=False, separators=(",", ":")).encode()


def _voice_row(dice: Dice) -> Row:
    latency, response = dice.count(900), dice.count(1500)
    speech = {
        "avg_agent_latency": latency,
        "avg_agent_latency_ms": latency,
        "user_interruption_count": dice.count(4),
        "user_interruption_rate": dice.number(3),
        "user_wpm": dice.number(180),
        "bot_wpm": dice.number(170),
        "talk_ratio": dice.number(2),
        "ai_interruption_count": dice.count(3),
        "ai_interruption_rate": dice.number(2),
        "avg_stop_time_after_interruption": dice.count(900),
        "agent_talk_percentage": dice.number(100),
        "turn_count": 14,
    }
    return _served_row(dice, "voice", [_voice_turn(dice, place) for place in range(14)], speech) | {
        "duration_seconds": dice.count(200),
        "response_time": response / 1000,
        "response_time_ms": response,
        "audio_url": f"https://recordings.example.com/{dice.uuid()}.mp3",
        "recordings": {
            track: f"https://recordings.example.com/{dice.uuid()}-{track}.wav"
            for track in ("combined", "stereo", "assistant", "customer")
        },
        "cost_cents": dice.count(30),
        "customer_cost_cents": dice.count(40),
        "customer_cost_breakdown": {"llm": 0.03, "stt": 0.01, "tts": 0.02, "total": 0.06},
        "customer_latency_metrics": {"systemMetrics": {"turn": 870, "model": 493.5}, "turnLatencies": []},
    }


def _text_row(dice: Dice) -> Row:
    chat = {
        "total_tokens": dice.count(3000),
        "input_tokens": dice.count(2000),
        "output_tokens": dice.count(1000),
        "avg_latency_ms": dice.number(900),
        "turn_count": 40,
        "csat_score": dice.number(10),
    }
    return _served_row(dice, "text", [_text_turn(dice, place) for place in range(40)], chat)


def _served_row(dice: Dice, kind: str, transcript: list[Row], measures: Row) -> Row:
    evals = [(dice.uuid(), name, type_) for name, type_ in _EVALS]
    row: Row = {
        "id": dice.uuid(),
        "service_provider_call_id": dice.uuid(),
        "session_id": None,
        "timestamp": dice.time(),
        "call_type": "Inbound",
        "status": "completed",
        "duration": dice.count(200),
        "duration_seconds": None,
        "start_time": dice.time(),
        "transcript": transcript,
        "scenario": dice.text(4),
        "overall_score": dice.number(10),
        "response_time": None,
        "response_time_ms": None,
        "audio_url": None,
        "customer_name": f"+4179{dice.count(10**7):07d}",
        "eval_outputs": {key: _output(dice, name, type_) for key, name, type_ in evals},
        "eval_metrics": {
            key: {"id": key, **_output(dice, name, type_), "template_type": None, "visible": True}
            for key, name, type_ in evals
        },
        "scenario_columns": {name: _cell(dice, name) for name in ("persona", "situation", "Ideal Outcome")},
        "ended_reason": "customer-ended-call",
        "simulator_agent_name": "Simulated caller",
        "simulator_agent_id": dice.uuid(),
        "agent_definition_used_name": "Hotline Zürich",
        "agent_definition_used_id": dice.uuid(),
        "call_summary": dice.remark(25),
        "recordings": {},
        "test_execution_id": dice.uuid(),
        "scenario_id": dice.uuid(),
        "scenario_graph": {"nodes": [{"id": "open", "data": {"prompt": dice.text(6)}}], "edges": []},
        "scenario_graph_id": dice.uuid(),
    }
    row |= dict.fromkeys(_MEASURES) | measures
    row |= {"processing_skipped": False, "processing_skip_reason": None, "is_snapshot": False}
    row |= dict.fromkeys(_NEVER_SET) | {"customer_call_id": row["service_provider_call_id"]}
    return row | {"simulation_call_type": kind, "provider": "vapi", "phone_number": "+41440000188"}


_MEASURES = (
    *("avg_agent_latency", "avg_agent_latency_ms", "user_interruption_count", "user_interruption_rate"),
    *("user_wpm", "bot_wpm", "talk_ratio", "ai_interruption_count", "ai_interruption_rate"),
    *("avg_stop_time_after_interruption", "total_tokens", "input_tokens", "output_tokens"),
    *("avg_latency_ms", "turn_count", "agent_talk_percentage", "csat_score"),
)
_NEVER_SET = (
    *("snapshot_timestamp", "rerun_type", "original_call_execution_id", "tool_outputs", "cost_cents"),
    *("customer_cost_cents", "customer_cost_breakdown", "customer_latency_metrics"),
)


def _voice_turn(dice: Dice, place: int) -> Row:
    start = 2600 * place
    return {
        "id": dice.uuid(),
        "speaker_role": "assistant" if place % 2 else "user",
        "content": dice.text(4 + dice.count(15)),
        "start_time_ms": start,
        "start_time_seconds": start / 1000,
        "end_time_ms": start + 2100,
        "end_time_seconds": (start + 2100) / 1000,
        "confidence_score": dice.number(1),
        "created_at": dice.time(),
    }


def _text_turn(dice: Dice, place: int) -> Row:
    role, text = "assistant" if place % 2 else "user", dice.text(4 + dice.count(15))
    return {
        "id": dice.uuid(),
        "role": role,
        "messages": [text],
        "content": [{"role": role, "content": text}],
        "session_id": "chat-17",
        "tool_calls": [],
        "created_at": dice.time(),
    }


def _output(dice: Dice, name: str, type_: str) -> Row:
    values: Row = {"score": dice.number(1), "Pass/Fail": "Passed", "choices": ["Calm"]}
    return {
        "value": values[type_],
        "reason": dice.remark(16),
        "type": type_,
        "name": name,
        "error": False,
        "status": "Completed",
        "skipped": False,
    }


def _cell(dice: Dice, name: str) -> Row:
    return {
        "value": {"name": "Chloé", "language": "fr"} if name == "persona" else dice.text(8),
        "visible": True,
        "dataset_column_id": dice.uuid(),
        "dataset_id": dice.uuid(),
        "column_name": name,
        "data_type": "text",
    }


def _documented_row(dice: Dice) -> Row:
    roles = ("user", "assistant")
    return {
        "id": dice.uuid(),
        "session_id": dice.uuid(),
        "status": "completed",
        "duration": dice.count(200),
        "start_time": dice.time(),
        "transcript": [
            {"role": roles[place % 2], "content": dice.text(4 + dice.count(15))} for place in range(16)
        ],
        "scenario": {"id": dice.uuid(), "name": dice.text(4)},
        "scenario_id": dice.uuid(),
        "overall_score": dice.number(100),
        "eval_outputs": {name: _output(dice, name, type_) for name, type_ in _EVALS},
        "eval_metrics": {name: dice.number(1) for name, _ in _EVALS},
        "customer_name": "Chloé",
        "call_summary": dice.remark(25),
        "ended_reason": "customer-ended-call",
        "avg_agent_latency": dice.number(1),
        "is_snapshot": False,
        "rerun_type": None,
        "created_at": dice.time(),
    }


VOICE = PageKind("served voice", _voice_row)
TEXT = PageKind("served text, 40 turns", _text_row)
DOCUMENTED = PageKind("documented", _documented_row)
