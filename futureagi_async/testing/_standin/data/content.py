"""What a call says about itself, in one unit each; the wire modules convert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.evals import Stored
    from futureagi_async.testing._standin.data.scenarios import Cells, Scenario
    from futureagi_async.testing._standin.data.turns import Turn
    from futureagi_async.testing._standin.data.values import Chat, Costs, Speech


@frozen
class CallFacts:
    """One call's content; `None` and empty values are what the server would store for its status."""

    scenario: Scenario
    cells: Cells | None
    direction: str
    phone: str | None
    customer_number: str | None
    customer_call_id: str | None
    session_id: str | None
    started_us: int | None
    duration_seconds: int | None
    turns: tuple[Turn, ...]
    score: float | None
    response_ms: int | None
    audio_url: str | None
    stereo_url: str | None
    ended_reason: str | None
    summary: str | None
    evals: Stored
    tool_outputs: dict[str, Any] | None
    speech: Speech
    chat: Chat
    costs: Costs
    skipped: bool
    simulated: bool
