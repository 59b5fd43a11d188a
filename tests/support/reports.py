"""Calls to report on: plausible ones, and hostile ones; and a page taken apart."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

from futureagi_async import CallExecution, EvalOutput, Scenario, TranscriptTurn

LONG_WORD = "W" * 100_000
HOSTILE = (
    "<script>document.title='owned'</script>",
    "</style><style>*{display:none}</style>",
    '"><img src=x onerror="document.title=1">',
    "</svg></details><h1>after all</h1>",
    "=cmd|'/c calc'!A1",
    "\u202eevil\u202c \u2066isolated",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "nul\x00 esc\x1b[31m lone\ud800",
    "line\none\r\nline\u2028two",
    LONG_WORD,
    "😀" * 2_000,
    "]]><!--",
    "",
)
SCENARIOS = (
    "Order is late",
    "Change the delivery address",
    "Refund of a damaged item",
    "Cancel a subscription",
    "Angry caller, third call this week",
    "Ask for a supervisor",
    "Réclamation d'été — retour",
    "Voucher does not work",
)
SAID = (
    "Good morning, how can I help you?",
    "I ordered a lamp three weeks ago, and it arrived broken.",
    "I am sorry to hear that. Could you tell me the number of your order?",
    "It is 4711, I think. I have called twice already.",
    "Thank you, I see it. I can send you a voucher of ten francs.",
    "I don't want a voucher. I want my money back.",
)
CHECKS = (("Goal reached", 0.82), ("Politeness", 0.95), ("Follows the refund policy", 0.7))
REASON = "The agent offered a refund without asking when the item was bought."


def make_calls(number: int, *, seed: int = 1, worse: float = 0.0, first_day: int = 0) -> list[CallExecution]:
    """Return calls of some scenarios; ``worse`` ones score lower, pass less often and answer later."""
    draw = random.Random(seed)
    return [_make_call(draw, place, seed, worse, first_day) for place in range(number)]


def _make_call(draw: random.Random, place: int, seed: int, worse: float, first_day: int) -> CallExecution:
    scenario = place % len(SCENARIOS)
    status = draw.choices(("completed", "failed", "cancelled"), (94, 5, 1))[0]
    done = status == "completed"
    start = datetime(2026, 11, 2, 8, tzinfo=UTC)
    start += timedelta(days=first_day + draw.randrange(12), minutes=draw.randrange(600))
    score = draw.gauss(7.4 - scenario * 0.2 - worse * (2 if scenario in (2, 5) else 0.3), 1.5)
    return CallExecution(
        id=f"{seed:08}-0000-4000-8000-{place:012}",
        status=status,
        start_time=start,
        timestamp=start,
        duration=draw.uniform(30, 240),
        overall_score=round(min(10, max(0, score)), 1) if done else None,
        response_time=draw.lognormvariate(-0.2 + 0.15 * worse, 0.45) if done else None,
        scenario=Scenario(id=f"s{scenario}", name=SCENARIOS[scenario]),
        scenario_id=f"s{scenario}",
        eval_outputs=_outputs(draw, worse) if done else {},
        ended_reason=draw.choice(("customer-ended-call", "assistant-ended-call", "silence-timed-out")),
        call_summary="The caller asks for a refund. The agent offers a voucher.",
        recordings={"combined": f"https://recordings.example.com/{place}.mp3"},
        transcript=tuple(
            TranscriptTurn(("assistant", "user")[turn % 2], SAID[turn], turn * 7.5, turn * 7.5 + 6)
            for turn in range(len(SAID))
        ),
    )


def _outputs(draw: random.Random, worse: float) -> dict[str, EvalOutput]:
    def output(id_: str, name: str, kind: str, value: Any) -> EvalOutput:
        return EvalOutput(id=id_, name=name, type=kind, value=value, reason=REASON, status="Completed")

    found = {
        name: output(name, name, "Pass/Fail", "Passed" if draw.random() < rate - 0.05 * worse else "Failed")
        for name, rate in CHECKS
    }
    found["tone"] = output("tone", "Tone", "score", round(min(1, max(0, draw.gauss(0.78, 0.1))), 2))
    mood = draw.choices(("Calm", "Neutral", "Annoyed"), (5, 4, 2))[0]
    found["mood"] = output("mood", "Caller's mood", "choices", [mood])
    return found


def hostile_calls(*, seed: int = 1) -> list[CallExecution]:
    """Return calls in which every text that a model, a customer or a provider wrote wants to do harm."""
    calls = make_calls(len(HOSTILE) * 4, seed=seed, worse=seed - 1.0)
    for place, call in enumerate(calls):
        word = HOSTILE[place % len(HOSTILE)]
        call.status = word if place % 4 == 3 else call.status
        call.scenario = Scenario(id=word or "s", name=word)
        call.scenario_id = word or "s"
        call.ended_reason = call.call_summary = call.audio_url = word
        call.recordings = {"combined": word, "stereo": "javascript:alert(2)", word: word}
        call.overall_score = place / 10
        call.transcript = tuple(TranscriptTurn(word, text, 0.0, 1.0) for text in HOSTILE)
        call.eval_outputs = {
            f"{kind} {word}"[:300]: EvalOutput(
                id=f"{kind} {word}", name=word, type=kind, value=value, reason=word, status=word
            )
            for kind, value in (("score", 0.5), ("Pass/Fail", "Failed"), ("choices", [word or "none"]))
        }
    return calls


class Page(HTMLParser):
    """A page's elements, and the text in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self._texts.append(data)

    @property
    def text(self) -> str:
        """All text, with single blanks."""
        return " ".join(" ".join(self._texts).split())

    def all(self, tag: str) -> Sequence[dict[str, str | None]]:
        """Return the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]
