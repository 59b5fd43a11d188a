"""Records that are cut off an answer are just those that JSON itself finds in it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from futureagi_async._sansio import decoding, requests
from futureagi_async._sansio.decoding import ListBody
from futureagi_async._sansio.decoding.cutting import CutRecord
from futureagi_async.errors import DecodingError
from tests.support import samples
from tests.support.samples import decode_page

ENDPOINT = requests.RUN_TEST_CALLS
PADDING = "x" * 6_000
"""Small records are not cut."""


class _Plain(msgspec.Struct):
    results: list[Raw]


def compact(rows: list[Any], **changes: Any) -> bytes:
    """Build a list's body as the server does, without spaces."""
    body = json.loads(samples.envelope(rows, **changes))
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def large(number: int, **changes: Any) -> dict[str, Any]:
    """Build a record that is worth cutting."""
    return {**samples.served_row(), "id": f"call-{number}", "call_summary": PADDING, **changes}


def raws(body: ListBody) -> list[bytes]:
    """Return the bytes of all records."""
    return [record.raw if isinstance(record, CutRecord) else bytes(record) for record in body.results]


def check_as_json_says(body: bytes) -> ListBody:
    """Compare the records that are found with those that an ordinary decoder finds."""
    found = decoding.decode_list(body, ENDPOINT)
    assert raws(found) == list(map(bytes, msgspec.json.decode(body, type=_Plain).results))
    return found


def test_large_records_are_cut() -> None:
    """All but the last record of an ordinary page are cut off, and decoded to what they were."""
    body = compact([large(number) for number in range(60)])
    assert len(check_as_json_says(body).cut) == 59
    page = decode_page(body)
    assert [call.id for call in page.calls] == [f"call-{number}" for number in range(60)]
    assert {call.call_summary for call in page.calls} == {PADDING}


SEPARATOR = '},{"id":"x","service_provider_call_id":"y"'
TEXTS = st.sampled_from(["", "ü😀", SEPARATOR, "]}", '"results":[', "\\", "},{"])
INNER = st.fixed_dictionaries({"id": TEXTS, "service_provider_call_id": TEXTS}, optional={"more": TEXTS})
VALUES = st.recursive(TEXTS | st.integers() | st.none() | INNER, st.lists, max_leaves=8)
RECORDS = st.fixed_dictionaries(
    {"id": st.text(max_size=3) | st.integers(), "service_provider_call_id": TEXTS | st.lists(TEXTS)},
    optional={"call_summary": st.just(PADDING), "x": VALUES, "results": VALUES, "rerun_snapshots": VALUES},
)
OTHERS = st.dictionaries(st.sampled_from(["id", "service_provider_call_id", "call_summary"]), VALUES)


@given(
    st.lists(RECORDS | OTHERS, min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(["next", "meta", "column_order", "more"]), VALUES),
    st.booleans(),
)
def test_whatever_the_records_hold(
    records: list[dict[str, Any]], others: dict[str, Any], others_first: bool
) -> None:
    """What looks like the beginning of a record, inside of one or of the envelope, changes nothing."""
    envelope: dict[str, Any] = {"count": len(records), "results": [large(0), *records, large(1)]}
    others = {key: value for key, value in others.items() if key in {"meta", "more"}}
    whole = {**others, **envelope} if others_first else {**envelope, **others}
    check_as_json_says(json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode())


def test_nested_records_are_not_taken_for_records() -> None:
    """Snapshots inside a record begin as records do; what follows the first such record is not cut."""
    snapshots = [samples.served_row(), samples.served_row(), samples.served_row()]
    body = compact([large(0), large(1), large(2, rerun_snapshots=snapshots), large(3), large(4)])
    found = check_as_json_says(body)
    assert len(found.results) == 5
    assert 2 <= len(found.cut) < 5


def test_an_inner_list_of_results_is_not_taken_for_the_list() -> None:
    """Only the key of the answer itself holds records."""
    inner = json.dumps({"results": [large(7), large(8)]}, separators=(",", ":")).encode()
    body = b'{"count":0,"meta":' + inner + b',"results":[]}'
    assert raws(decoding.decode_list(body, ENDPOINT)) == []


DAMAGES = {
    "no JSON in a record": lambda body: body.replace(b'"call-1"', b'"call-1'),
    "cut off": lambda body: body[:-9_000],
    "the list twice": lambda body: body[:-1] + b',"results":[]}',
    "a count that is none": lambda body: body.replace(b'"count":4', b'"count":-4'),
    "something behind it": lambda body: body + b"]",
    "no comma": lambda body: body.replace(b'},{"id":"call-2"', b'}{"id":"call-2"'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_errors_are_those_of_the_whole_answer(damage: Any) -> None:
    """What is wrong with an answer is told as of one that is not cut, and may be asked for again."""
    body: bytes = damage(compact([large(number) for number in range(4)]))
    with pytest.raises(DecodingError) as caught:
        decoding.decode_list(body, ENDPOINT)
    with pytest.raises(DecodingError) as plain:
        decoding.decode_list(b" " + body, ENDPOINT)  # a space before it: such an answer is not cut
    described = (caught.value.json_path, caught.value.retryable)
    assert described == (plain.value.json_path, plain.value.retryable)
    assert caught.value.json_path in {"$", "$.count"}


BAD_ROWS: dict[str, dict[str, Any]] = {
    "a misfit": {"overall_score": "7.5"},
    "a time without a year in UTC": {"timestamp": "0001-01-01T00:00:00+14:00"},
    "an id that is none": {"id": 5},
}


@pytest.mark.parametrize("changes", BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_records_fare_as_uncut_ones(changes: dict[str, Any]) -> None:
    """A record whose values do not fit gives the misfits, or the failure, of one that is not cut."""
    body = compact([large(0), large(1, **changes), large(2)])
    cut, plain = decode_page(body), decode_page(b" " + body)
    assert cut.calls == plain.calls
    assert [call.misfits for call in cut.calls] == [call.misfits for call in plain.calls]
    assert [str(failure.error) for failure in cut.failures] == [str(each.error) for each in plain.failures]
    assert [failure.raw for failure in cut.failures] == [failure.raw for failure in plain.failures]


def test_a_cut_record_that_is_not_utf8_fails_alone() -> None:
    """Bytes that are no text spoil their record, wherever in it they are, and not its neighbours."""
    for place in ("id", "call_summary", "unknown"):
        body = compact([large(0), large(1, **{"unknown": "?", place: "here"}), large(2)])
        page = decode_page(body.replace(b'"here"', b'"\xff"'))
        assert [call.id for call in page.calls] == ["call-0", "call-2"]
        assert "not UTF-8" in page.failures[0].error.message
