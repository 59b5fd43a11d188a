"""`ExecutionKPIs`: the KPIs (key figures) of one test execution."""

from collections.abc import Mapping

import attrs

from futureagi_async.models.plain import Plain
from futureagi_async.models.values import EMPTY, JsonValue
from futureagi_async.options import brief

_SHOWN = 6  # of a mapping's keys


@attrs.define(frozen=True, kw_only=True, repr=False)
class ExecutionKPIs(Plain):
    """KPIs of a test execution. A field is ``None`` if the response does not have it.

    The served API sends every figure for voice and text agents alike, and 0.0 if it has no data.

    The response does not show which keys come from evaluations. If the average of an evaluation has the name
    of a fixed figure (``Score`` gives ``avg_score``), the server sends it in place of that figure.
    ``get_kpis(id, check=True)`` compares the keys with the names of the execution's evaluations, and moves
    such figures to ``collisions``. Without ``check``, only figures with the wrong shape are moved there.

    Source: ``GET /simulate/test-executions/{test_execution_id}/kpis/``.
    """

    total_calls: int | None = None
    avg_score: float | None = None
    avg_response: float | None = None
    """Seconds."""
    calls_attempted: int | None = None
    connected_calls: int | None = None
    calls_connected_percentage: float | None = None
    """0 to 100."""
    failed_calls: int | None = None
    total_duration: float | None = None
    """Seconds, sum over all calls."""
    agent_type: str | None = None
    """``voice`` or ``text``."""
    is_inbound: bool | None = None
    scenario_graphs: Mapping[str, JsonValue] | None = None
    """Graphs by scenario id."""
    avg_agent_latency: float | None = None
    """Seconds; voice only."""
    avg_user_interruption_count: float | None = None
    avg_user_interruption_rate: float | None = None
    avg_user_wpm: float | None = None
    avg_bot_wpm: float | None = None
    avg_talk_ratio: float | None = None
    avg_ai_interruption_count: float | None = None
    avg_ai_interruption_rate: float | None = None
    avg_stop_time_after_interruption: float | None = None
    """Seconds; voice only."""
    agent_talk_percentage: float | None = None
    customer_talk_percentage: float | None = None
    avg_total_tokens: float | None = None
    avg_input_tokens: float | None = None
    avg_output_tokens: float | None = None
    avg_chat_latency_ms: float | None = None
    """Milliseconds; text only."""
    avg_turn_count: float | None = None
    avg_csat_score: float | None = None

    eval_averages: Mapping[str, float] = EMPTY
    """``avg_<metric_name>`` by ``metric_name``, in lower case, with underscores for spaces."""
    choice_counts: Mapping[str, Mapping[str, int]] = EMPTY
    """For evaluations with choices: how often each choice occurred, by metric name."""
    collisions: Mapping[str, JsonValue] = EMPTY
    """Values that an evaluation sent, or may have sent, in place of a fixed figure, by the figure's name.

    The figure itself is ``None``. Counts of choices always come from an evaluation. Numbers appear here only
    with ``check=True``: they are the evaluation's average (0 to 100) if the evaluation has results, and
    otherwise the figure itself, in the server's unit.
    """
    extra: Mapping[str, JsonValue] = EMPTY
    """All other keys."""
    misfits: Mapping[str, JsonValue] = EMPTY
    """Sent values of a type that their figure can't hold, by name, such as ``{"avg_score": "7.5"}``."""
    raw: bytes = attrs.field(default=b"", eq=False, repr=False)
    """The response body as the server sent it."""

    def __repr__(self) -> str:
        """Show the figures that have a value; of mappings the first keys, or their number."""
        fields = [(name, getattr(self, name)) for name in self.to_dict()]
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in fields if value not in (None, {}))
        return f"<ExecutionKPIs: {shown}>"


def _shown(value: object) -> str:
    if not isinstance(value, Mapping):
        return repr(value)
    if any(isinstance(each, Mapping) for each in value.values()):
        return f"<{len(value)} keys>"
    first = [f"{key!r}: {brief(value[key])}" for key in list(value)[:_SHOWN]]
    more = f", and {len(value) - _SHOWN} more" if len(value) > _SHOWN else ""
    return f"{{{', '.join(first)}{more}}}"
