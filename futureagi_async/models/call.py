"""`CallExecution`: one class for a call, wherever it was read."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

import attrs

from futureagi_async.errors import DecodingError
from futureagi_async.models.lazy import LazyFields
from futureagi_async.models.plain import Plain, PlainDict, encode, plain
from futureagi_async.models.values import EMPTY, EvalOutput, JsonValue, Scenario, TranscriptTurn
from futureagi_async.sources import CallSource

PROVIDER_DATA: Final = ("call_metadata", "provider_call_data")
"""Keys of version rows and snapshots; what is under them may include other parties' keys."""

PART_KEYS: Final = (
    *("transcript", "transcripts", "eval_outputs", "eval_metrics", "scenario_columns"),
    *("recordings", "tool_outputs", "rerun_snapshots"),
)
"""Keys of a record's nested parts."""


class SentParts(LazyFields):
    """Keeps each nested part of a record as bytes, for the decoder to read it when it is asked for."""

    __slots__ = tuple(f"sent_{key}" for key in PART_KEYS)


@attrs.define(kw_only=True, repr=False, weakref_slot=False)
class CallExecution(SentParts, Plain):
    """One call of a simulation: a row of any list, a rerun snapshot, or the full detail.

    Every documented field of the five endpoints is here under its documented name and unit; a
    field that a listing does not deliver is ``None``, and so is one that was sent as something the
    documents do not allow: ``misfits`` has what was sent. Transcript, evaluations and the other nested
    parts are checked when they are first read; a wrong shape of one of them (an object for a list)
    raises `DecodingError` there. ``repr`` is short on purpose: records may hold personal data and
    providers' keys.

    Sources: ``GET /simulate/call-executions/{call_execution_id}/`` and the three lists of calls.
    """

    lazy_fields = frozenset(
        (
            "transcript",
            "eval_outputs",
            "eval_metrics",
            "scenario_columns",
            "recordings",
            "tool_outputs",
            "rerun_snapshots",
            "extra",
            "_without_provider_data",
        )
    )

    id: str
    """UUID of the call; of the snapshot where ``is_snapshot``."""
    source: CallSource | None = None
    """The list it was read from; ``None`` for a detail."""
    status: str | None = None
    """A `CallStatus` word, or one invented since."""
    session_id: str | None = None
    service_provider_call_id: str | None = None
    test_execution_id: str | None = None
    simulation_call_type: str | None = None
    """``voice`` or ``text``; not documented, sent by the served API."""
    call_type: str | None = None
    """``Inbound`` or ``Outbound``; snapshots and version lists send the provider's own word."""

    timestamp: datetime | None = None
    """Last change (the key lists are sorted by), although the documents call it creation."""
    created_at: datetime | None = None
    start_time: datetime | None = None
    duration: float | None = None
    """Seconds."""

    scenario: Scenario | None = None
    scenario_id: str | None = None
    overall_score: float | None = None
    """On the server's scale, which is not fixed (documents say 0-10 and 0-100)."""
    customer_name: str | None = None
    """The simulated customer; the served API sends their phone number."""
    call_summary: str | None = None
    ended_reason: str | None = None
    audio_url: str | None = None
    simulator_agent_name: str | None = None
    simulator_agent_id: str | None = None
    agent_definition_used_name: str | None = None
    agent_definition_used_id: str | None = None

    response_time: float | None = None
    """Average agent response time in seconds."""
    avg_agent_latency: float | None = None
    """Seconds; voice only."""
    avg_stop_time_after_interruption: float | None = None
    """Seconds; voice only."""
    user_interruption_count: float | None = None
    user_interruption_rate: float | None = None
    """Documented as a proportion; the served API sends interruptions a minute."""
    user_wpm: float | None = None
    bot_wpm: float | None = None
    talk_ratio: float | None = None
    """Documented as a proportion; the served API sends agent time over user time."""
    ai_interruption_count: float | None = None
    ai_interruption_rate: float | None = None
    total_tokens: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    avg_latency_ms: float | None = None
    """Milliseconds; text only."""
    turn_count: float | None = None
    csat_score: float | None = None
    stt_cost: float | None = None
    """US dollars, like the other costs; documented, not sent by the served API."""
    llm_cost: float | None = None
    tts_cost: float | None = None
    storage_cost: float | None = None
    total_cost: float | None = None

    is_snapshot: bool | None = False
    """Whether this is a call's state kept before a rerun. Its ``id`` is then not a call's id. ``None``
    for a misfit alone."""
    original_call_execution_id: str | None = None
    """For a snapshot, the id of the call it was taken of."""
    snapshot_timestamp: datetime | None = None
    rerun_type: str | None = None

    transcript: tuple[TranscriptTurn, ...] | None = None
    """``None`` where the listing withholds it (test executions; text calls of versions)."""
    eval_outputs: Mapping[str, EvalOutput] | None = None
    """By evaluation id."""
    eval_metrics: Mapping[str, JsonValue] | None = None
    scenario_columns: Mapping[str, JsonValue] | list[JsonValue] | None = None
    """By column name (the detail is documented as an array); as sent."""
    recordings: Mapping[str, JsonValue] | None = None
    """As sent; `recording_urls` gives one shape for all listings."""
    tool_outputs: Mapping[str, JsonValue] | None = None
    rerun_snapshots: "tuple[CallExecution, ...] | None" = None
    extra: Mapping[str, JsonValue] = EMPTY
    """Every key of the record that filled no field."""
    misfits: Mapping[str, JsonValue] = EMPTY
    """What was sent for fields that can't hold it, such as ``{"overall_score": "7.5"}``.

    By the field's name; inside nested parts, once these were read, by path:
    ``transcript[0].content``, ``eval_outputs['ID'].reason``, ``rerun_snapshots[0].duration``. A number
    beyond all floats is its JSON text.
    """

    raw: bytes = attrs.field(default=b"", eq=False)
    """The record's JSON as the server sent it; empty for one built by hand."""
    may_hold_provider_data: bool = attrs.field(default=True, eq=False)
    """Whether ``raw`` and ``extra`` have what the voice provider knows (``call_metadata``,
    ``provider_call_data``, or snapshots that may): it may include other parties' keys."""
    _without_provider_data: bytes = attrs.field(default=b"", eq=False)

    def as_sent(self, *, include_provider_data: bool = False) -> bytes:
        """Return the record's JSON on one line, byte for byte as the server sent it.

        ``call_metadata`` and ``provider_call_data``, which may include other parties' keys, are left
        out unless ``include_provider_data`` asks for them. Raises `ValueError` for a call that was
        built by hand.
        """
        holds_more = self.may_hold_provider_data and not include_provider_data
        record = self._without_provider_data if holds_more else self.raw
        if not record:
            raise ValueError(f"Call {self.id} was built by hand: the server sent no record of it.")
        return on_one_line(record)

    def to_dict(self, *, include_provider_data: bool = False) -> PlainDict:
        """Return the call as a dict that ``json.dumps`` takes, with documented names and units.

        It has the keys of a line of normalised JSON Lines: the fields in their order, ``scenario`` and turns
        as dicts, evaluations by id, times as texts in UTC. ``misfits`` also has what was sent for a part
        whose shape is wrong. ``call_metadata`` and ``provider_call_data`` are left out unless asked for,
        see `as_sent`. Raises `DecodingError` where a value is nested too deeply to be copied.
        """
        try:
            return self._to_dict(partial(self._sent, include_provider_data), include_provider_data)
        except RecursionError:
            problem = "A value is nested too deeply"
            raise DecodingError.at(problem, endpoint=f"call {self.id}") from None

    def _to_dict(self, sent: Callable[[str], Any], include_provider_data: bool) -> PlainDict:
        wrong: PlainDict = {}
        made: PlainDict = {"id": self.id, "source": plain(self.source)}
        made |= {name: plain(getattr(self, name)) for name in _SCALARS}
        made |= {name: self._plain_part(name, sent, wrong) for name in ("transcript", "eval_outputs")}
        made |= {name: self._plain_part(name, sent, None) for name in _FREE_PARTS}
        try:
            made["rerun_snapshots"] = self.rerun_snapshots and [
                snapshot.to_dict(include_provider_data=include_provider_data)
                for snapshot in self.rerun_snapshots
            ]
        except (DecodingError, RecursionError):
            made["rerun_snapshots"], wrong["rerun_snapshots"] = None, sent("rerun_snapshots")
        hidden = () if include_provider_data else PROVIDER_DATA
        made["extra"] = {key: plain(value) for key, value in self.extra.items() if key not in hidden}
        made["misfits"] = plain(self.misfits) | wrong or None  # last: reading the parts adds to them
        return made

    def to_json(self, *, include_provider_data: bool = False) -> bytes:
        """Return `to_dict` as one line of JSON in UTF-8, without a newline at its end; see `from_json`."""
        return encode(self.to_dict(include_provider_data=include_provider_data))

    @classmethod
    def from_json(cls, line: bytes | str, source: CallSource | None = None) -> "CallExecution":
        """Return the call that a line of JSON Lines holds: as sent, or normalised, as `to_json` writes it.

        A normalised line brings its source, and no record: ``raw`` is empty. Of a line as sent, ``source`` is
        the list it was read from, which decides whether an empty transcript is one that the list withholds.
        Raises `DecodingError` for a line that holds no call.
        """
        from futureagi_async._sansio.decoding.lines import decode_line

        return decode_line(line, source)

    def _plain_part(self, name: str, sent: Callable[[str], Any], wrong: PlainDict | None) -> Any:
        """Return a nested part; one of no known shape is put into ``wrong``, or else returned as sent."""
        try:
            return plain(getattr(self, name))
        except DecodingError:
            if wrong is None:
                return sent(name)
            wrong[name] = sent(name)
            return None

    def _sent(self, include_provider_data: bool, name: str) -> Any:
        fields = json.loads(self.as_sent(include_provider_data=include_provider_data))
        return fields.get(name, fields.get(f"{name}s"))  # version lists send transcripts

    @property
    def call_execution_id(self) -> str:
        """The id to ask details for: a snapshot's original, else the call's own."""
        return self.original_call_execution_id or self.id

    @property
    def recording_urls(self) -> Mapping[str, str]:
        """URLs of the audio by ``combined``, ``stereo``, ``customer``, ``assistant``; no empty ones."""
        sent = self.recordings or {}
        mono = sent.get("mono")
        if isinstance(mono, dict):  # a snapshot's shape
            found = {name: mono.get(f"{name}_url") for name in ("combined", "customer", "assistant")}
            found["stereo"] = sent.get("stereo_url")
        else:
            found = {name: sent.get(name) for name in ("combined", "stereo", "customer", "assistant")}
        found["combined"] = found["combined"] or self.audio_url
        found["stereo"] = found["stereo"] or self.extra.get("stereo_recording_url")
        return {name: url for name, url in found.items() if isinstance(url, str) and url}

    def __repr__(self) -> str:
        kind = f", snapshot of {self.original_call_execution_id}" if self.is_snapshot else ""
        return f"<CallExecution {self.id} {self.status}{kind}>"


_FREE_PARTS: Final = ("eval_metrics", "scenario_columns", "recordings", "tool_outputs")
"""Nested parts whose keys are free."""
_SCALARS: Final = [
    field.name
    for field in attrs.fields(CallExecution)
    if field.eq and field.name not in (*CallExecution.lazy_fields, "id", "source", "misfits")
]


def on_one_line(record: bytes) -> bytes:
    """Return a record's JSON without its newlines: they stand between its tokens, if anywhere."""
    if b"\n" in record or b"\r" in record:
        return record.translate(None, delete=b"\r\n")
    return record
