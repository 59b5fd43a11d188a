"""What callers hold: laziness nobody notices, read-only mappings, and small conveniences."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from futureagi_async import CallStatus, ExecutionStatus, NotFoundError
from futureagi_async.errors import DecodingError
from futureagi_async.models import (
    CallExecution,
    EvalOutput,
    FetchReport,
    FetchResult,
    Outcome,
    ReadOnlyDict,
    SourceReport,
    TestExecutionPage,
)
from tests.support import samples
from tests.support.samples import (
    CALL_ID,
    EVAL_ID,
    EXECUTION,
    RUN_TEST,
    SNAPSHOT_ID,
    VERSION,
    decode_detail,
    decode_page,
    decode_row,
    envelope,
)

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "old pickle": lambda value: pickle.loads(pickle.dumps(value, protocol=2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "evolve": attrs.evolve,
}
CALLS: dict[str, Callable[[], CallExecution]] = {
    "served": lambda: decode_row(samples.served_row(rerun_snapshots=[samples.nested_snapshot()])),
    "chat": lambda: decode_detail(samples.served_chat_row()),
    "snapshot": lambda: decode_row(samples.served_snapshot_row()),
    "version": lambda: decode_row(samples.served_version_row(), VERSION),
    "documented": lambda: decode_detail(samples.documented_row()),
    "by hand": lambda: CallExecution(id=CALL_ID, status="completed", customer_name="+15550100"),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("case", CALLS)
def test_calls_are_copied_whole(case: str, way: str) -> None:
    """A copy made in any way, before any part was read, equals the original with all its parts."""
    call = CALLS[case]()
    copied = COPIES[way](call)
    assert copied is not call
    assert type(copied) is CallExecution
    assert copied == call == CALLS[case]()
    assert copied.raw == call.raw
    assert copied.transcript == call.transcript
    assert copied.extra == call.extra
    assert repr(copied) == repr(call)


@pytest.mark.parametrize("case", CALLS)
def test_reading_parts_changes_nothing(case: str) -> None:
    """A call whose parts were read equals one whose parts were not; one other value makes it differ."""
    read, fresh = CALLS[case](), CALLS[case]()
    for name in CallExecution.lazy_fields:
        getattr(read, name)
    assert read == fresh
    assert attrs.asdict(read) == attrs.asdict(CALLS[case]())
    assert attrs.evolve(fresh, status="other") != read
    assert attrs.evolve(fresh, transcript=()) != read


@pytest.mark.parametrize("way", [value for name, value in COPIES.items() if name != "copy"])
def test_turns_are_copied_whole(way: Callable[[Any], Any]) -> None:
    """A turn's other keys survive copying it."""
    turns = decode_detail(samples.served_row()).transcript
    assert turns is not None
    copied = way(turns[0])
    assert copied == turns[0]
    assert copied.extra["confidence_score"] == 0.9


def test_asdict_holds_the_parts() -> None:
    """``attrs.asdict`` sees lazy parts like all others, down to their values."""
    found = attrs.asdict(decode_row(samples.served_row()))
    assert found["transcript"][0]["content"] == "Grüß Gott, what can I do?"
    assert found["eval_outputs"][EVAL_ID]["value"] == 85.5
    assert found["source"] == {"run_test_id": RUN_TEST.run_test_id, "search": None, "status": None}
    assert set(found) == {field.name for field in attrs.fields(CallExecution)}


READERS: dict[str, Callable[[CallExecution], object]] = {
    "attribute": lambda call: call.transcript,
    "==": lambda call: call == decode_row(samples.served_row()),
    "asdict": attrs.asdict,
    "pickle": pickle.dumps,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "evolve": lambda call: attrs.evolve(call, status="other"),
}


@pytest.mark.parametrize("way", READERS)
def test_malformed_parts_raise_when_read(way: str) -> None:
    """A malformed part raises its own error wherever it is read, and leaves the other fields alone."""
    call = decode_row(samples.served_row(transcript=[5]))
    with pytest.raises(DecodingError, match=r"transcript\[0\]"):
        READERS[way](call)
    assert call.status == "completed"
    assert call.eval_outputs
    assert repr(call)


def test_repr_is_short_and_free_of_data() -> None:
    """Reprs show ids and counts; no text, phone number or provider's key of a record."""
    rows = [
        samples.served_row(),
        samples.served_snapshot_row(),
        samples.served_version_row(),
        {"id": 5, "x": "+1555"},
    ]
    page = decode_page(envelope(rows), EXECUTION)
    report = SourceReport(source=RUN_TEST, verdict="complete", reason="", expected=3, received=3)
    shown = [repr(page), repr(FetchResult(list(page.calls), FetchReport((report,)))), *map(repr, page.calls)]
    assert shown[2] == f"<CallExecution {CALL_ID} completed>"
    assert shown[3] == f"<CallExecution {SNAPSHOT_ID} None, snapshot of {CALL_ID}>"
    assert "<3 calls>" in shown[0]
    assert "<3 calls>" in shown[1]
    for text in (*shown, str(page.calls[0])):
        assert not any(secret in text for secret in ("+1555", "Grüß", "provider-secret", "https://"))


def test_calls_made_by_hand() -> None:
    """A call needs nothing but an id; every other field is there and empty."""
    call = CallExecution(id="a")
    assert (call.call_execution_id, call.transcript, call.extra, call.raw, call.recording_urls) == (
        "a",
        None,
        {},
        b"",
        {},
    )
    assert repr(call) == "<CallExecution a None>"
    with pytest.raises(AttributeError, match="has no attribute 'transcripts'"):
        _ = call.transcripts  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        CallExecution()  # type: ignore[call-arg]


def test_misspelt_fields_raise() -> None:
    """A field that does not exist is an AttributeError, on decoded calls too."""
    call = decode_row(samples.served_row())
    assert not hasattr(call, "transkript")
    with pytest.raises(AttributeError):
        call.transkript = ()  # type: ignore[attr-defined]


AUDIO = "https://audio.example/"
URLS: list[tuple[samples.Row, dict[str, str]]] = [
    (samples.served_row(), {"combined": f"{AUDIO}c.wav"}),
    (samples.served_row(recordings={}), {"combined": f"{AUDIO}a.wav"}),
    (
        samples.served_row(recordings={"combined": None, "stereo": "s"}),
        {"combined": f"{AUDIO}a.wav", "stereo": "s"},
    ),
    (
        samples.served_row(recordings={"customer": "k", "assistant": "b"}, audio_url=None),
        {"customer": "k", "assistant": "b"},
    ),
    (samples.served_row(recordings=None, audio_url=None), {}),
    (samples.served_row(recordings=..., audio_url=""), {}),
    (samples.served_row(recordings={"combined": 5, "format": "wav"}, audio_url=None), {}),
    (samples.served_chat_row(), {}),
    (
        samples.served_snapshot_row(),
        {"combined": f"{AUDIO}m.wav", "assistant": f"{AUDIO}b.wav", "stereo": f"{AUDIO}s.wav"},
    ),
    (samples.served_snapshot_row(recordings={"mono": {}}, audio_url="u"), {"combined": "u"}),
    (samples.served_version_row(), {"combined": f"{AUDIO}v.wav", "stereo": f"{AUDIO}v2.wav"}),
    (samples.documented_row(), {"combined": f"{AUDIO}d.wav"}),
]


@pytest.mark.parametrize(("row", "urls"), URLS)
def test_recording_urls_in_any_shape(row: samples.Row, urls: dict[str, str]) -> None:
    """Recordings have one shape for all listings, with absent ones left out."""
    assert decode_row(row).recording_urls == urls


MUTATORS: dict[str, Callable[[Any], object]] = {
    "set": lambda mapping: mapping.__setitem__("a", 2),
    "new": lambda mapping: mapping.__setitem__("z", 2),
    "delete": lambda mapping: mapping.__delitem__("a"),
    "update": lambda mapping: mapping.update(a=2),
    "empty update": lambda mapping: mapping.update(),
    "setdefault": lambda mapping: mapping.setdefault("z", 1),
    "pop": lambda mapping: mapping.pop("a"),
    "pop default": lambda mapping: mapping.pop("z", None),
    "popitem": lambda mapping: mapping.popitem(),
    "clear": lambda mapping: mapping.clear(),
    "or": lambda mapping: mapping.__ior__({"z": 1}),
}


@pytest.mark.parametrize("way", MUTATORS)
def test_read_only_dicts_refuse_changes(way: str) -> None:
    """Every way to change the mapping raises and leaves it as it was."""
    mapping = ReadOnlyDict({"a": 1, "b": [2]})
    with pytest.raises(TypeError, match="read-only"):
        MUTATORS[way](mapping)
    assert mapping == {"a": 1, "b": [2]}


def test_read_only_dicts_are_dicts() -> None:
    """The mapping compares, prints, serialises, merges and copies like a dict."""
    mapping: ReadOnlyDict[Any] = ReadOnlyDict({"a": 1, "b": [2]})
    assert mapping == {"a": 1, "b": [2]}
    assert mapping != {"a": 1}
    assert repr(mapping) == "{'a': 1, 'b': [2]}"
    assert json.dumps(mapping) == '{"a": 1, "b": [2]}'
    merged = mapping | {"c": 3}
    merged["d"] = 4
    assert type(mapping.copy()) is dict
    assert {**mapping} == dict(mapping)


@pytest.mark.parametrize("way", ["pickle", "old pickle", "copy", "deepcopy"])
def test_read_only_dicts_are_copied(way: str) -> None:
    """A copy is read-only too; a deep one shares nothing."""
    mapping: ReadOnlyDict[Any] = ReadOnlyDict({"a": ReadOnlyDict({"b": []})})
    copied = COPIES[way](mapping)
    assert type(copied) is ReadOnlyDict
    assert copied == mapping
    assert (copied["a"]["b"] is mapping["a"]["b"]) == (way == "copy")
    with pytest.raises(TypeError):
        copied["a"] = 1


def test_outcomes() -> None:
    """An outcome gives its value or raises its error."""
    assert Outcome("a", value=5).unwrap() == 5
    assert Outcome("a", value=0).unwrap() == 0
    missing = NotFoundError("gone")
    with pytest.raises(NotFoundError) as caught:
        Outcome[int]("a", error=missing).unwrap()
    assert caught.value is missing


@pytest.mark.parametrize(
    ("value", "choices"),
    [
        ("refund", ("refund",)),
        (["a", "b"], ("a", "b")),
        (["a", 5, None], ("a",)),
        ({"choice": "a"}, ("a",)),
        ({"choices": ["a", "b"]}, ("a", "b")),
        ({"choices": ["a"], "choice": "b"}, ("a",)),
        ({"score": 1}, ()),
        ([], ()),
        (None, ()),
        (5, ()),
        (True, ()),
    ],
)
def test_choices_however_wrapped(value: Any, choices: tuple[str, ...]) -> None:
    """The chosen words come out of every shape the endpoints use."""
    assert EvalOutput("e", value=value).choices == choices


def test_status_words_are_text() -> None:
    """The documented words equal the text of the fields."""
    assert decode_row(samples.served_row()).status == CallStatus.COMPLETED
    assert f"{ExecutionStatus.CANCELLING}" == "cancelling"


@pytest.mark.parametrize(
    ("verdicts", "complete"), [((), True), (("complete",), True), (("complete", "incomplete"), False)]
)
def test_fetch_reports(verdicts: tuple[Any, ...], complete: bool) -> None:
    """A report is complete when each of its sources is, and adds up what they received."""
    report = FetchReport(
        tuple(
            SourceReport(source=RUN_TEST, verdict=verdict, reason="", expected=None, received=index + 1)
            for index, verdict in enumerate(verdicts)
        )
    )
    assert report.complete is complete
    assert report.received == sum(range(len(verdicts) + 1))
    assert [source.verdict for source in report] == list(verdicts)


def test_names_of_the_vendor_are_not_collected() -> None:
    """Classes named after the vendor's test executions are no tests to pytest."""
    assert TestExecutionPage.__test__ is False
    assert type(EXECUTION).__test__ is False
