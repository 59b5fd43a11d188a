"""What formats take from a record's bytes is what the model says."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from msgspec import Raw

from futureagi_async import CallExecution
from futureagi_async._sansio.decoding import decode_list, decode_records
from futureagi_async._sansio.decoding.misfits import values_of
from futureagi_async._sansio.requests import RUN_TEST_CALLS
from futureagi_async.errors import DecodingError
from futureagi_async.export.batches import merge
from futureagi_async.export.formats.records import (
    evaluations_of,
    extra_of,
    fields_of,
    json_of,
    refuses,
    turns_of,
)
from futureagi_async.models import RecordFailure
from tests.exported import (
    EXECUTION,
    RECORDED_PAGES,
    ROWS,
    RUN,
    SOURCES,
    VERSION,
    call_of,
    calls_of,
    encoded,
    recorded_calls,
)
from tests.recordings import Recording

SERVED = {"id": "1", "duration_seconds": 3}


def check_same(call: CallExecution) -> None:
    """Compare each part with the model's, errors and misfits too."""
    fields = fields_of(call)
    for name, read in (("transcript", turns_of), ("eval_outputs", evaluations_of)):
        misfits: dict[str, Any] = {}
        found = read(call, fields, misfits)
        if refuses(call, name):
            assert not found
            assert name in misfits  # the whole part, as sent
            continue
        expected = getattr(call, name)
        beside = {place: value for place, value in call.misfits.items() if place.startswith(f"{name}[")}
        assert values_of(misfits) == beside
        assert found == expected or (not found and not expected and (name == "eval_outputs" or found == ()))
        if name == "transcript":
            assert (found is None) == (expected is None)
            assert [turn.extra for turn in found or ()] == [turn.extra for turn in expected or ()]
    assert json.loads(extra_of(fields)) == call.extra


@settings(deadline=None)
@given(row=ROWS)
def test_any_record_gives_what_the_model_gives(row: dict[str, Any]) -> None:
    """Transcript, evaluations and extra are the model's, for any keys and shapes, from any list."""
    for source in SOURCES:
        for call in calls_of(row, source=source):
            check_same(call)


@pytest.mark.parametrize("recording", RECORDED_PAGES)
def test_recorded_records_give_what_the_model_gives(recording: Recording) -> None:
    """The same for what the vendor's server answered."""
    for call in recorded_calls(recording):
        check_same(call)


@pytest.mark.parametrize(
    ("row", "source", "expected"),
    [
        ({**SERVED, "transcript": []}, EXECUTION, None),
        ({**SERVED, "transcript": []}, RUN, ()),
        ({"id": "1", "transcript": []}, EXECUTION, ()),
        ({"id": "1", "transcripts": [], "simulation_call_type": "text"}, VERSION, None),
        ({"id": "1", "transcripts": [], "simulation_call_type": "voice"}, VERSION, ()),
        ({"id": "1", "transcript": None}, RUN, None),
        ({"id": "1", "transcript": None, "transcripts": [{"content": "a"}]}, RUN, None),
        ({"id": "1"}, RUN, None),
    ],
)
def test_a_withheld_transcript_is_not_an_empty_one(row: Any, source: Any, expected: Any) -> None:
    """Whether an empty transcript means that nothing was said depends on the list, as in the model."""
    (call,) = calls_of(row, source=source)
    assert call.transcript == expected
    assert turns_of(call, fields_of(call), {}) == expected


def test_extra_keeps_every_byte_of_its_values() -> None:
    """Keys that fill no field keep their values as sent, digits and blanks; a percent sign harms nobody."""
    (call,) = calls_of(b'{"id":"1","100%":1.0e5,"\\u00e9":[1 ,2],"big":12345678901234567890123,"far":1e999}')
    assert extra_of(fields_of(call)) == (
        '{"100%":1.0e5,"big":12345678901234567890123,"far":1e999,"é":[1 ,2]}'.encode()
    )


@pytest.mark.parametrize(
    ("recordings", "names_any"),
    [
        (b"null", False),
        (b"{ }", False),
        (b'{"combined":null}', True),
        (b'{"combined":1e999}', True),
    ],
)
def test_recordings_that_a_record_names_stay_its_own(recordings: bytes, names_any: bool) -> None:
    """A detail's recordings are taken where the record names none, whatever values these have."""
    merged = merge(b'{"id":"1","recordings":%b}' % recordings, b'{"recordings":{"stereo":"s"}}')
    expected = recordings if names_any else b'{"stereo":"s"}'
    assert merged == b'{"id":"1","recordings":%b}' % expected


def test_json_of_tells_null_from_a_value() -> None:
    """A part that is null or missing has no JSON; an empty one has."""
    fields = fields_of(call_of(eval_metrics=None, recordings={}))
    assert json_of(fields, "eval_metrics") is None
    assert json_of(fields, "tool_outputs") is None
    assert json_of(fields, "recordings") == b"{}"


def test_a_call_built_by_hand_is_refused() -> None:
    """A call that no server sent has no record; saying so beats writing an empty line."""
    with pytest.raises(ValueError, match="Call 1 was not read from the server"):
        fields_of(CallExecution(id="1"))


@pytest.mark.parametrize("place", [b'"status":"%b"', b'"odd":"%b"', b'"transcript":[{"content":"%b"}]'])
def test_half_a_surrogate_pair_gets_no_further_than_its_page(place: bytes) -> None:
    """Escaped, it makes the page unreadable; as bytes, which are no UTF-8, it fails its record."""
    escaped, bare = (b'{"id":"1",%b}' % (place % text) for text in (b"\\ud800 and more", b"\xed\xa0\x80"))
    with pytest.raises(DecodingError, match="Not valid JSON"):
        decode_list(b'{"count":1,"results":[%b]}' % escaped, RUN_TEST_CALLS)
    (failure,) = decode_records([Raw(bare)], 0, RUN, RUN_TEST_CALLS)
    assert isinstance(failure, RecordFailure)
    assert failure.raw == bare


def test_the_tests_encode_like_the_server() -> None:
    """Rows are written as raw UTF-8 without blanks, which the other tests rely on."""
    assert encoded({"a": "é"}) == '{"a":"é"}'.encode()
