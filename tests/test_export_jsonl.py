"""Records as lines: what passes through untouched, and what is left out."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async.export.formats.jsonl import encode_lines
from futureagi_async.export.formats.records import PROVIDER_KEYS, without_provider_data

ODD = b'{"a": 1.0e5 ,"b":12345678901234567890123,"c":"\\u00e9 \xc3\xa9 \\/ \xe2\x80\xa8","d":0.10,"b":2}'
"""Blanks, a huge number, needless escapes, a line separator, a needless zero, a name given twice."""

LOOKED_AT = (*PROVIDER_KEYS, "rerun_snapshots")
"""Keys that are left out or looked into, which hypothesis finds among the words of the source."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

RECORDS = st.dictionaries(st.text().filter(lambda key: key not in LOOKED_AT), JSON)


def test_a_record_passes_through_byte_for_byte() -> None:
    """A record without provider data is written as it was sent, and its line ended."""
    assert encode_lines([ODD, b"{}"]) == [ODD + b"\n", b"{}\n"]


def test_newlines_between_tokens_are_taken_out() -> None:
    """JSON may hold newlines between its tokens; the values around them stay byte for byte."""
    record = b'{\r\n  "a": 0.10,\n  "b": [1.0e5,\n "x\\ny", {}]\r}'
    assert encode_lines([record]) == [b'{"a":0.10,"b":[1.0e5,"x\\ny",{}]}\n']


@given(
    record=RECORDS,
    indent=st.none() | st.integers(0, 3),
    ascii_only=st.booleans(),
)
def test_any_record_is_one_line_of_equal_json(
    record: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    """Whatever a record holds and however it is laid out, it gives one line that means the same."""
    sent = json.dumps(record, indent=indent, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    (line,) = encode_lines([sent])
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line) == record


@pytest.mark.parametrize("key", ["call_metadata", "provider_call_data", "call\\u005fmetadata"])
def test_provider_data_is_left_out(key: str) -> None:
    """A key that may hold third parties' secrets is dropped, all other values stay byte for byte."""
    record = b'{"id": "1" ,"%b":{"user_api_key":"secret"},"n":0.10,"t":"\\u00e9"}' % key.encode()
    assert without_provider_data(record) == b'{"id":"1","n":0.10,"t":"\\u00e9"}'


def test_provider_data_can_be_kept() -> None:
    """Whoever asks for provider data gets the record as it was sent."""
    record = b'{"id": "1", "call_metadata": {"user_api_key": "secret"}}'
    assert encode_lines([record], include_provider_data=True) == [record + b"\n"]


def test_snapshots_inside_a_call_lose_theirs_too() -> None:
    """A test execution's row holds its rerun snapshots, each with provider data of its own."""
    record = (
        b'{"id":"1","rerun_snapshots":[{"id":"2","provider_call_data":{"k":"secret"},"n":0.10},{}],"m":1.0}'
    )
    assert without_provider_data(record) == b'{"id":"1","rerun_snapshots":[{"id":"2","n":0.10},{}],"m":1.0}'


@pytest.mark.parametrize(
    "snapshots",
    [b'{"provider_call_data":"secret"}', b'[["provider_call_data"]]', b'"provider_call_data"', b"1"],
)
def test_snapshots_of_an_unknown_shape_are_not_trusted(snapshots: bytes) -> None:
    """What may hold provider data in a shape nobody documented is written as null."""
    assert without_provider_data(b'{"rerun_snapshots":%b}' % snapshots) == b'{"rerun_snapshots":null}'


@pytest.mark.parametrize(
    "record",
    [
        b'{ "said": "the \\"call_metadata\\" key" }',
        b'{ "column": "call_metadata" }',
        b'{ "rerun_snapshots": null, "x": "provider_call_data" }',
        b'{ "rerun_snapshots": [{ "x": "provider_call_data" }] }',
        b'{ "columns": {"call_metadata": 1} }',
    ],
)
def test_the_mere_words_change_nothing(record: bytes) -> None:
    """A record that only mentions the keys, as text or deeper inside, is returned as it was sent."""
    msgspec.json.decode(record)
    assert without_provider_data(record) == record
