"""`CallExecution.as_sent`: what passes through untouched, and what is left out."""

import copy
import json
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import CallExecution
from futureagi_async._sansio import requests
from futureagi_async._sansio.decoding import decode_call
from futureagi_async.errors import DecodingError
from tests.sansio import samples
from tests.sansio.pages import decode_page, envelope
from tests.sansio.samples import VERSION

ODD = b'{"id":"1","a": 1e5 ,"b":12345678901234567890,"c":"\\u00e9 \xc3\xa9 \\/ \xe2\x80\xa8","d":0.10,"b":2}'
"""Blanks, a huge number, needless escapes, a line separator, a needless zero, a name given twice."""

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.fixed_dictionaries({"id": TEXT, "x": JSON})


def as_sent(record: bytes, *, include_provider_data: bool = False) -> bytes:
    """Return what a call that was read from a record passes on."""
    return decode_call(record, requests.CALL).as_sent(include_provider_data=include_provider_data)


def test_a_record_passes_through_byte_for_byte() -> None:
    """A record without provider data is what the server sent, to the byte."""
    assert as_sent(ODD) == ODD
    assert as_sent(b'{"id":"1"}') == b'{"id":"1"}'


def test_newlines_between_tokens_are_taken_out() -> None:
    """JSON may hold newlines between its tokens; all else stays byte for byte."""
    record = b'{\r\n  "id": "1",\n  "b": [1.0e5,\n "x\\ny", {}]\r}'
    assert as_sent(record) == b'{  "id": "1",  "b": [1.0e5, "x\\ny", {}]}'
    assert as_sent(record, include_provider_data=True) == as_sent(record)
    with_data = b'{\n"id":"1",\n"call_metadata":{\n"a":1},"b":[1,\n2]}'
    assert as_sent(with_data) == b'{"id":"1","b":[1,2]}'
    assert as_sent(with_data, include_provider_data=True) == with_data.replace(b"\n", b"")


@given(record=RECORDS, indent=st.none() | st.integers(0, 3), ascii_only=st.booleans(), keep=st.booleans())
def test_any_record_is_one_line_of_equal_json(
    record: dict[str, Any], indent: int | None, ascii_only: bool, keep: bool
) -> None:
    """Whatever a record holds and however it is laid out, it gives one line that means the same."""
    sent = json.dumps(record, indent=indent, ensure_ascii=ascii_only).encode()
    line = as_sent(sent, include_provider_data=keep)
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line) == record


@pytest.mark.parametrize("key", ["call_metadata", "provider_call_data", "call\\u005fmetadata"])
def test_provider_data_is_left_out(key: str) -> None:
    """A key that may hold third parties' secrets is dropped, all other values stay byte for byte."""
    record = b'{"id": "1" ,"%b":{"user_api_key":"secret"},"n":0.10,"t":"\\u00e9"}' % key.encode()
    assert as_sent(record) == b'{"id":"1","n":0.10,"t":"\\u00e9"}'
    assert as_sent(record, include_provider_data=True) == record


def test_snapshots_inside_a_call_lose_theirs_too() -> None:
    """A test execution's row holds its rerun snapshots, each with provider data of its own."""
    record = (
        b'{"id":"1","rerun_snapshots":[{"id":"2","provider_call_data":{"k":"secret"},"n":0.10},{}],"m":1.0}'
    )
    assert as_sent(record) == b'{"id":"1","rerun_snapshots":[{"id":"2","n":0.10},{}],"m":1.0}'


@pytest.mark.parametrize(
    "snapshots",
    [
        b'{"provider_call_data":"secret"}',
        b'[["provider_call_data"]]',
        b'"provider_call_data"',
        b"1",
    ],
)
def test_snapshots_of_an_unknown_shape_are_not_trusted(snapshots: bytes) -> None:
    """What may hold provider data in a shape nobody documented is passed on as null."""
    assert as_sent(b'{"id":"1","rerun_snapshots":%b}' % snapshots) == b'{"id":"1","rerun_snapshots":null}'


@pytest.mark.parametrize("depth", range(300, 500, 20))
def test_snapshots_nested_beyond_measure_are_not_trusted(depth: int) -> None:
    """Where no program can follow, nothing is passed on, and nothing but `DecodingError` is raised."""
    record = b'{"id":"0","call_metadata":"secret"}'
    for number in range(1, depth):
        record = b'{"id":"%d","rerun_snapshots":[%b]}' % (number, record)
    try:
        passed_on = as_sent(record)
    except DecodingError:
        return
    assert b"secret" not in passed_on


@pytest.mark.parametrize(
    "record",
    [
        b'{ "id": "1", "said": "the \\"call_metadata\\" key" }',
        b'{ "id": "1", "column": "call_metadata" }',
        b'{ "id": "1", "rerun_snapshots": null, "x": "provider_call_data" }',
        b'{ "id": "1", "rerun_snapshots": [{ "x": "provider_call_data" }] }',
        b'{ "id": "1", "columns": {"call_metadata": 1} }',
    ],
)
def test_the_mere_words_change_nothing(record: bytes) -> None:
    """A record that only mentions the keys, as text or deeper inside, is passed on as it was sent."""
    assert as_sent(record) == record


def copies(call: CallExecution) -> list[CallExecution]:
    """Return a call copied in every way that Python and attrs offer."""
    return [
        pickle.loads(pickle.dumps(call)),
        copy.copy(call),
        copy.deepcopy(call),
        attrs.evolve(call, status="other"),
    ]


def test_copies_pass_on_the_same() -> None:
    """A copy knows its record's bytes, and what of them to leave out, wherever it was made."""
    page = decode_page(envelope([samples.served_version_row(), samples.served_row()]), VERSION)
    for call in page.calls:
        original = call.as_sent(), call.as_sent(include_provider_data=True)
        assert b"provider-secret" not in original[0]
        for copied in copies(call):
            assert (copied.as_sent(), copied.as_sent(include_provider_data=True)) == original
    assert b"provider-secret" in page.calls[0].as_sent(include_provider_data=True)


@pytest.mark.parametrize("keep", [False, True])
def test_a_call_built_by_hand_has_nothing_to_pass_on(keep: bool) -> None:
    """The server sent no record of it, and none is made up."""
    with pytest.raises(ValueError, match="Call 1 was built by hand"):
        CallExecution(id="1").as_sent(include_provider_data=keep)
