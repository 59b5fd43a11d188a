"""Values of undocumented types: each is None in its field and as sent in ``misfits``, all else is intact."""

import json
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from futureagi_async._sansio import decoding, requests
from futureagi_async._sansio.decoding import Checks
from futureagi_async.errors import DecodingError
from futureagi_async.models import CallExecution, EvalOutput, Scenario, TestExecutionPage, TranscriptTurn
from futureagi_async.sources import CallSource
from tests.support import samples
from tests.support.samples import (
    CALL_ID,
    EVAL_ID,
    EXECUTION,
    RUN_TEST,
    SCENARIO_ID,
    STRICT,
    VERSION,
    Row,
    decode_detail,
    decode_page,
    decode_row,
    envelope,
)
from tests.support.slow import examples

ALIASES = {
    "timestamp": ("timestamp", "updated_at"),
    "start_time": ("start_time", "started_at"),
    "duration": ("duration", "duration_seconds"),
    "customer_name": ("customer_name", "customer_number"),
    "audio_url": ("audio_url", "recording_url"),
    "simulator_agent_name": ("simulator_agent_name", "simulatorAgentName"),
    "simulator_agent_id": ("simulator_agent_id", "simulatorAgentId"),
    "response_time": ("response_time", "response_time_seconds", "response_time_ms"),
    "avg_agent_latency": ("avg_agent_latency", "avg_agent_latency_ms"),
    "avg_stop_time_after_interruption": (
        "avg_stop_time_after_interruption",
        "avg_stop_time_after_interruption_ms",
    ),
    "scenario": ("scenario", "scenario_name"),
}
"""Other keys of a field, first come first served."""

NO_TEXT: list[Any] = [5, 0.5, True, [], ["a"], {}, {"a": 5}]
NO_NUMBER: list[Any] = ["7.5", "", True, False, [], [5], {}]
NO_FLAG: list[Any] = ["yes", "", 1, 0, 0.5, [], {}]
NO_TIME: list[Any] = [
    5,
    1767225600,
    0.5,
    True,
    [],
    {},
    "",
    "yesterday",
    "2026-01-01",
    "2026-01-01T00:00",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:00:00,123Z",
    "2026-01-01T00:00:00+05",
    "2026-01-01T00:00:00+24:00",
    "2026-02-30T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "20260101T000000Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "2026-01-01T00:00:00Zulu",
]
WRONG: dict[object, list[Any]] = {
    str | None: NO_TEXT,
    float | None: NO_NUMBER,
    datetime | None: NO_TIME,
    bool | None: NO_FLAG,
    Scenario | None: [5, True, [], ["a"]],
}
"""By a field's type: what it can't hold."""

SCALARS = {
    field.name: WRONG[field.type]
    for field in attrs.fields(CallExecution)
    if field.type in WRONG and field.name != "id"
}
FIELD_KEYS = [(name, key) for name in SCALARS for key in ALIASES.get(name, (name,))]
ROWS: dict[str, tuple[Row, CallSource]] = {
    "served": (samples.served_row(rerun_snapshots=[samples.nested_snapshot()]), RUN_TEST),
    "chat": (samples.served_chat_row(), RUN_TEST),
    "snapshot": (samples.served_snapshot_row(), RUN_TEST),
    "version": (samples.served_version_row(), VERSION),
    "execution": (samples.served_row(transcript=[]), EXECUTION),
    "documented": (samples.documented_row(), RUN_TEST),
    "documented run test": (samples.documented_run_test_row(), RUN_TEST),
}


def test_every_scalar_of_a_call_is_meant() -> None:
    """Of the model's fields only those about the record, and the nested parts, are no scalars."""
    others = {field.name for field in attrs.fields(CallExecution)} - set(SCALARS)
    about = {"id", "source", "misfits", "raw", "may_hold_provider_data"}
    assert others == about | CallExecution.lazy_fields


def filled_by(key: str, name: str, row: Row) -> Row:
    """Return the row with no other key that would fill the field before this one."""
    keys = ALIASES.get(name, (name,))
    return samples.changed(row, dict.fromkeys(keys[: keys.index(key)], ...))


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize(("name", "key"), FIELD_KEYS)
def test_every_scalar_of_every_row(name: str, key: str, kind: str) -> None:
    """Whatever a field can't hold, under whichever of its keys, counts as null and is kept as sent."""
    row, source = ROWS[kind]
    row = filled_by(key, name, row)
    as_null = decode_row({**row, key: None}, source)
    for wrong in SCALARS[name]:
        bad = {**row, key: wrong}
        page = decode_page(envelope([row, bad, row]), source)
        assert not page.failures
        before, call, after = page.calls
        assert getattr(call, name) is None
        assert call.misfits == {name: wrong}
        assert type(call.misfits[name]) is type(wrong)
        assert json.loads(call.raw) == bad
        assert before == after
        assert before.misfits == {}
        rest = {name: getattr(as_null, name), "misfits": {}}
        if name in ("created_at", "original_call_execution_id", "is_snapshot"):
            continue  # null says something of them, too
        assert attrs.evolve(call, **rest) == as_null


@pytest.mark.parametrize(("name", "key"), FIELD_KEYS)
def test_strictly_none_passes(name: str, key: str) -> None:
    """With ``strict`` each of them fails its record, with the path to the key that was sent."""
    row = filled_by(key, name, samples.documented_run_test_row())
    for wrong in SCALARS[name]:
        page = decode_page(envelope([row, {**row, key: wrong}]), checks=STRICT)
        (failure,) = page.failures
        assert failure.error.json_path == f"$.results[1].{key}"
        assert not failure.error.retryable
        with pytest.raises(DecodingError) as caught:
            decode_detail({**row, key: wrong}, STRICT)
        assert caught.value.json_path == f"$.{key}"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T00:00:00.123456789Z", datetime(2026, 1, 1, 0, 0, 0, 123457, UTC)),
        ("2026-12-31T23:59:59.9999999Z", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2026-01-01 00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01t00:00:00z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00+0530", datetime(2025, 12, 31, 18, 30, tzinfo=UTC)),
        ("2026-01-01T00:00:00-00:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T14:00:00+14:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
    ],
)
@pytest.mark.parametrize("drifted", [False, True])
def test_times_that_are_times(text: str, moment: datetime, drifted: bool) -> None:
    """A time that is one decodes right, to the microsecond, also where the record holds a misfit."""
    call = decode_row({"id": "a", "start_time": text, "status": 5 if drifted else "completed"})
    assert call.start_time == moment
    assert set(call.misfits) == ({"status"} if drifted else set())


@given(moment=st.datetimes(), offset=st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_any_time_decodes_right_or_is_a_misfit(moment: datetime, offset: int) -> None:
    """Any time with any offset is the instant that it names, where UTC has one."""
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    text = f"{moment.isoformat()}{sign}{minutes // 60:02}:{minutes % 60:02}"
    call = decode_row({"id": "a", "created_at": text})
    try:
        expected = datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        assert (call.created_at, call.misfits) == (None, {"created_at": text})
    else:
        assert (call.created_at, call.misfits) == (expected, {})


@pytest.mark.parametrize(
    ("sent", "name", "value"),
    [
        ({"duration": 5, "duration_seconds": "6"}, "duration", 5),
        ({"simulator_agent_name": "a", "simulatorAgentName": 5}, "simulator_agent_name", "a"),
        ({"scenario": "S", "scenario_name": 5}, "scenario", Scenario(None, "S")),
        ({"response_time": 1.5, "response_time_ms": "9"}, "response_time", 1.5),
        ({"timestamp": None, "updated_at": "yesterday"}, "timestamp", None),
    ],
)
def test_a_key_that_fills_nothing_is_no_misfit(sent: Row, name: str, value: object) -> None:
    """Of several keys the first fills the field; what the others hold is in ``extra``, whatever it is."""
    call = decode_row({"id": "a", **sent})
    assert getattr(call, name) == value
    assert call.misfits == {}
    other = list(sent)[1]
    assert call.extra == {other: sent[other]}


def test_a_misfit_hides_the_keys_behind_it() -> None:
    """The first key present decides, as it does with null: a field is never filled by a second choice."""
    call = decode_row({"id": "a", "timestamp": "yesterday", "updated_at": "2026-01-01T00:00:00Z"})
    assert (call.timestamp, call.misfits) == (None, {"timestamp": "yesterday"})
    assert call.extra == {"updated_at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize("source", [RUN_TEST, VERSION])
def test_units_do_not_change_with_a_misfit(source: CallSource) -> None:
    """Which dialect a record is of is told by the keys that are there, misfits or not."""
    snapshot = samples.served_snapshot_row()
    expected = decode_row(snapshot, source)
    marks = ({"is_snapshot": "yes"}, {"snapshot_timestamp": "once"}, {"status": 5})
    for changes in marks:
        call = decode_row({**snapshot, **changes}, source)
        assert (call.response_time, call.avg_agent_latency) == (1.25, 0.8)
        assert call.avg_stop_time_after_interruption == expected.avg_stop_time_after_interruption
    documented = samples.documented_run_test_row(is_snapshot=True, original_call_execution_id=CALL_ID)
    assert decode_row({**documented, "created_at": "yesterday"}, source).response_time == 1.25
    assert decode_row({**documented, "is_snapshot": "yes"}, source).response_time == 1.25
    served = samples.served_row(avg_agent_latency_ms="900")
    assert decode_row(served, source).avg_agent_latency == 0.9


def test_a_snapshot_of_an_unreadable_kind() -> None:
    """Where nobody can say whether a record is a snapshot, the id of its original still counts."""
    call = decode_row(samples.served_snapshot_row(is_snapshot="yes"))
    assert call.is_snapshot is None
    assert call.call_execution_id == CALL_ID
    assert decode_row({"id": "a", "is_snapshot": None}).is_snapshot is False


def test_an_empty_transcript_of_an_unknown_kind_of_call_is_withheld() -> None:
    """Version lists send nothing of text calls: where the kind is a misfit, the detail knows more."""
    row = samples.served_version_row(transcripts=[], simulation_call_type=5)
    assert decode_row(row, VERSION).transcript is None
    assert decode_row(row, RUN_TEST).transcript == ()


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" * 5000], ids=["float", "-float", "int"])
def test_what_python_can_not_hold_is_its_json_text(number: bytes) -> None:
    """A value that no Python number holds is kept as text, and spoils no other field, ``extra`` included."""
    turn = b'{"role":"user","content":%b,"confidence":0.5}' % number
    outputs = b'{"e":{"value":%b,"name":"Tone"},"f":%b}' % (number, number)
    call = decoding.decode_call(
        b'{"id":"a","overall_score":%b,"odd":1,"status":{"a":%b},"transcript":[%b],"eval_outputs":%b}'
        % (number, number, turn, outputs),
        requests.CALL,
    )
    text = number.decode()
    first = {"overall_score": text, "status": f'{{"a":{text}}}'}
    assert call.misfits == first
    assert call.extra == {"odd": 1}
    assert call.transcript == (TranscriptTurn("user", None, extra={"confidence": 0.5}),)
    assert call.eval_outputs == {"e": EvalOutput("e", "Tone"), "f": EvalOutput("f")}
    places = ("transcript[0].content", "eval_outputs['e'].value", "eval_outputs['f'].value")
    assert call.misfits == first | dict.fromkeys(places, text)


TURN_FIELDS: list[tuple[str, str, list[Any]]] = [
    ("role", "role", NO_TEXT),
    ("role", "speaker_role", NO_TEXT),
    ("content", "content", [5, 0.5, True, {}, {"a": 5}]),
    ("content", "messages", [5, "Hello.", True, {}, ["a", 5], [None], [[]]]),
    ("start_seconds", "start_time_seconds", NO_NUMBER),
    ("start_seconds", "start_time_ms", [*NO_NUMBER, 10**400]),
    ("end_seconds", "end_time_seconds", NO_NUMBER),
    ("end_seconds", "end_time_ms", NO_NUMBER),
]


@pytest.mark.parametrize("part", ["transcript", "transcripts"])
@pytest.mark.parametrize(("name", "key", "values"), TURN_FIELDS)
def test_every_scalar_of_a_turn(name: str, key: str, values: list[Any], part: str) -> None:
    """It is None in its turn, under its path in the call once the part was read; other turns are intact."""
    turn = {"role": "user", "content": "Hi.", "start_time_seconds": 1, "end_time_seconds": 2, "new": [1]}
    first = {"speaker_role": "role", "messages": "content", "start_time_ms": "start_time_seconds"}
    first |= {"end_time_ms": "end_time_seconds"}
    turn = samples.changed(turn, {first.get(key, key): ...})
    for wrong in values:
        call = decode_row({"id": "a", part: [turn, {**turn, key: wrong}, turn]})
        assert call.misfits == {}
        assert call.transcript is not None
        good, bad, _ = call.transcript
        assert getattr(bad, name) is None
        assert attrs.evolve(bad, **{name: getattr(good, name)}) == good
        assert call.misfits == {f"transcript[1].{name}": wrong}


EVAL_FIELDS: list[tuple[str, str, list[Any]]] = [
    ("name", "name", NO_TEXT),
    ("type", "type", NO_TEXT),
    ("type", "output_type", NO_TEXT),
    ("reason", "reason", NO_TEXT),
    ("status", "status", NO_TEXT),
    ("error", "error", [5, 0.5, [], {}]),
    ("skipped", "skipped", NO_FLAG),
]


@pytest.mark.parametrize(("name", "key", "values"), EVAL_FIELDS)
def test_every_scalar_of_an_evaluation(name: str, key: str, values: list[Any]) -> None:
    """It is None in its result, under its path in the call once they were read; other results are intact."""
    sent = samples.changed(samples.served_eval(), {"type": ...} if key == "output_type" else {})
    for wrong in values:
        call = decode_row({"id": "a", "eval_outputs": {"x": sent, EVAL_ID: {**sent, key: wrong}, "old": 5}})
        assert call.misfits == {}
        assert call.eval_outputs is not None
        good, bad = call.eval_outputs["x"], call.eval_outputs[EVAL_ID]
        assert getattr(bad, name) is None
        assert attrs.evolve(bad, id="x", **{name: getattr(good, name)}) == good
        assert call.eval_outputs["old"] == EvalOutput("old", value=5)
        assert call.misfits == {f"eval_outputs['{EVAL_ID}'].{name}": wrong}


@pytest.mark.parametrize(
    ("key", "place"),
    [("Tone of voice", "Tone of voice"), ("it's", r"it\'s"), ("a\\b", r"a\\b"), ('"', '"'), ("", "")],
)
def test_paths_hold_any_id(key: str, place: str) -> None:
    """An evaluation's id stands between apostrophes as RFC 9535 writes it."""
    call = decode_row({"id": "a", "eval_outputs": {key: {"reason": 5}}})
    assert call.eval_outputs is not None
    assert call.misfits == {f"eval_outputs['{place}'].reason": 5}


@pytest.mark.parametrize(
    ("sent", "scenario", "misfits"),
    [
        ({"scenario": {"id": 5, "name": "S"}}, Scenario(None, "S"), {"scenario.id": 5}),
        ({"scenario": {"id": "i", "name": []}}, Scenario("i", None), {"scenario.name": []}),
        ({"scenario": {"id": 5}, "scenario_id": "o"}, Scenario("o", None), {"scenario.id": 5}),
        ({"scenario": ["S"]}, None, {"scenario": ["S"]}),
        ({"scenario_name": 5}, None, {"scenario": 5}),
        ({"scenario": "S", "scenario_id": 5}, Scenario(None, "S"), {"scenario_id": 5}),
    ],
)
def test_scenarios(sent: Row, scenario: Scenario | None, misfits: Row) -> None:
    """A scenario's own fields are scalars, too; what is no scenario at all is a misfit as a whole."""
    call = decode_row({"id": "a", **sent})
    assert (call.scenario, call.misfits) == (scenario, misfits)


def test_nested_snapshots() -> None:
    """A snapshot has its own misfits, and the call those of all its snapshots once they were read."""
    good = samples.nested_snapshot()
    bad = samples.nested_snapshot(id="b", duration_seconds="60", transcripts=[{"content": 5}])
    call = decode_row(samples.served_row(status=5, rerun_snapshots=[good, bad]), EXECUTION)
    assert call.misfits == {"status": 5}
    assert call.rerun_snapshots is not None
    first, second = call.rerun_snapshots
    assert (first.misfits, second.misfits) == ({}, {"duration": "60"})
    assert (first.duration, second.duration, second.is_snapshot) == (60, None, True)
    assert call.misfits == {"status": 5, "rerun_snapshots[1].duration": "60"}
    assert second.transcript == (TranscriptTurn(None, None),)
    assert second.misfits == {"duration": "60", "transcript[0].content": 5}


def test_misfits_are_read_only_and_copied() -> None:
    """Nobody changes them by accident, and a copy has them, with those of parts that nobody read before."""
    row = samples.served_row(status=5, transcript=[{"content": 5}])
    call = decode_row(row)
    with pytest.raises(TypeError):
        call.misfits["a"] = 5  # type: ignore[index]
    expected = {"status": 5, "transcript[0].content": 5}
    assert pickle.loads(pickle.dumps(call)).misfits == expected
    assert attrs.evolve(decode_row(row)).misfits == expected
    assert decode_row(row) == call
    assert decode_row(row) != decode_row({**row, "status": 6})
    assert "5" not in repr(decode_row({**row, "id": "a"})).replace(CALL_ID, "")


ODD_PAGE = {"total_pages": "5", "current_page": -1, "status": False, "provider": 5, "agent_type": []}


def test_pages_keep_their_own() -> None:
    """A page whose own facts can't be read still delivers its calls; a number is computed instead."""
    columns = [
        {"id": "a", "visible": "yes", "eval_config": 5, "new": 1},
        {"id": 5},
        6,
        {"id": "b", "column_name": "B"},
    ]
    body = envelope([samples.served_row()], **ODD_PAGE, column_order=columns)
    page = decode_page(body, EXECUTION, page=3, limit=10)
    assert isinstance(page, TestExecutionPage)
    assert [call.id for call in page.calls] == [CALL_ID]
    assert (page.status, page.provider, page.agent_type) == (None, None, None)
    assert (page.total_pages, page.current_page) == (1, 3)
    assert [(column.id, column.visible, column.extra) for column in page.column_order] == [
        ("a", None, {"new": 1}),
        ("b", None, {}),
    ]
    assert page.misfits == {
        **ODD_PAGE,
        "column_order[0].visible": "yes",
        "column_order[0].eval_config": 5,
        "column_order[1]": {"id": 5},
        "column_order[2]": 6,
    }
    page = decode_page(envelope([], column_order={"a": 1}), EXECUTION)
    assert isinstance(page, TestExecutionPage)
    assert (page.column_order, page.misfits) == ((), {"column_order": {"a": 1}})
    assert decode_page(envelope([], total_pages="5"), VERSION).misfits == {"total_pages": "5"}
    groups = decoding.decode_groups(
        envelope([{"count": 5}], column_order=[5], total_pages=[]),
        requests.TEST_EXECUTION,
        page=1,
        limit=10,
    )
    assert groups.misfits == {"total_pages": [], "column_order[0]": 5}
    with pytest.raises(DecodingError, match="total_pages"):
        decoding.decode_groups(
            envelope([], total_pages=[]), requests.TEST_EXECUTION, page=1, limit=10, checks=STRICT
        )


def drifts() -> Iterator[st.SearchStrategy[tuple[tuple[str | int, ...], str, Any]]]:
    """Yield what may be put where in a row, and the name that it is then a misfit by."""
    for name, values in SCALARS.items():
        yield st.tuples(st.just((name,)), st.just(name), st.sampled_from(values))
    for name, key, values in TURN_FIELDS:
        if key not in ("speaker_role", "messages", "start_time_ms", "end_time_ms"):
            place = st.just(("transcript", 1, key)), st.just(f"transcript[1].{name}")
            yield st.tuples(*place, st.sampled_from(values))
    for name, key, values in EVAL_FIELDS:
        if key != "output_type":
            place = st.just(("eval_outputs", EVAL_ID, key)), st.just(f"eval_outputs['{EVAL_ID}'].{name}")
            yield st.tuples(*place, st.sampled_from(values))


BASE = samples.documented_run_test_row(
    transcript=[
        {"role": "user", "content": "Hi.", "start_time_seconds": 1, "end_time_seconds": 2},
        {"role": "user", "content": "Ho.", "start_time_seconds": 3, "end_time_seconds": 4},
    ],
    eval_outputs={EVAL_ID: samples.served_eval()},
    scenario="Refund",
    scenario_id=SCENARIO_ID,
)


@settings(max_examples=examples(200))
@given(
    chosen=st.lists(st.one_of(*drifts()), min_size=1, max_size=6, unique_by=lambda drift: drift[1]),
    order=st.randoms(use_true_random=False),
)
def test_several_at_once(chosen: list[tuple[tuple[str | int, ...], str, Any]], order: Any) -> None:
    """However many values of a record drift, each is named, and the rest is as without them."""
    row, nulled = (json.loads(json.dumps(BASE)) for _ in range(2))
    for path, _, wrong in chosen:
        for target, value in ((row, wrong), (nulled, None)):
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = value
    keys = list(row)
    order.shuffle(keys)
    row = {key: row[key] for key in keys}
    call = decode_row(row, RUN_TEST)
    eager = decode_row(row, RUN_TEST, Checks(eager=True))
    assert eager.misfits == {name: wrong for _, name, wrong in chosen}
    assert call == eager
    assert call.misfits == eager.misfits
    expected = decode_row(nulled, RUN_TEST)
    for field in attrs.fields(CallExecution):
        name, value = field.name, getattr(call, field.name)
        if name in call.misfits:
            assert value is None
        elif name == "transcript":
            texts = [(turn.role, turn.content or "", turn.start_seconds, turn.end_seconds) for turn in value]
            others = [
                (turn.role, turn.content, turn.start_seconds, turn.end_seconds)
                for turn in expected.transcript or ()
            ]
            assert texts == others
        elif name == "eval_outputs":
            output, other = value[EVAL_ID], expected.eval_outputs[EVAL_ID]  # type: ignore[index]
            assert (output.value, output.reason, output.name) == (other.value, other.reason, other.name)
            assert bool(output.skipped) == other.skipped
        elif field.eq and name != "misfits":
            assert value == getattr(expected, name)
    with pytest.raises(DecodingError):
        decode_detail(row, Checks(eager=True, strict=True))
