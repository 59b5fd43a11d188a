"""Pages, details and key figures as a whole: envelopes, bad records, and bytes that are no answer."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from futureagi_async import DecodingError, RunTestCalls
from futureagi_async._sansio import decoding, requests
from futureagi_async._sansio.decoding import Checks
from futureagi_async._sansio.decoding.fragments import Fragment, ListContext, check_keys
from futureagi_async.models import (
    CallExecution,
    CallPage,
    Column,
    ExecutionKPIs,
    RecordFailure,
    TestExecutionPage,
)
from futureagi_async.sources import CallSource
from futureagi_async.testing import StandInServer
from tests.support import samples
from tests.support.samples import (
    CALL_ID,
    EXECUTION,
    LENIENT,
    RUN_TEST,
    STRICT,
    VERSION,
    decode_detail,
    decode_page,
    envelope,
)
from tests.support.sessions import open_session

ROWS = [
    samples.served_row(),
    samples.served_chat_row(),
    samples.served_snapshot_row(),
    samples.served_version_row(),
    samples.documented_row(),
    samples.documented_run_test_row(),
]


@pytest.mark.parametrize("source", [RUN_TEST, VERSION, EXECUTION], ids=lambda source: type(source).__name__)
def test_pages_hold_rows_of_every_kind(source: CallSource) -> None:
    """Whatever kinds of rows a page mixes, all decode, in order, with their own bytes."""
    page = decode_page(envelope(ROWS), source)
    assert not page.failures
    assert [json.loads(call.raw) for call in page.calls] == ROWS
    assert isinstance(page, TestExecutionPage) == (source is EXECUTION)
    assert {type(page)} <= {CallPage, TestExecutionPage}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"count": 45, "next": "http://x/?page=3", "total_pages": 5, "current_page": 2}, (45, True, 5, 2)),
        ({"count": 45, "next": "?page=2", "total_pages": ..., "current_page": ...}, (45, True, 5, 7)),
        ({"count": 40, "next": ..., "total_pages": None, "current_page": None}, (40, False, 4, 7)),
        ({"count": 0, "total_pages": ..., "current_page": 0}, (0, False, 1, 7)),
        ({"count": 0, "total_pages": 0, "current_page": 2}, (0, False, 0, 2)),
        ({"count": 10**400, "total_pages": 1, "current_page": 1, "next": ""}, (10**400, True, 1, 1)),
    ],
)
def test_envelope(sent: dict[str, Any], expected: tuple[object, ...]) -> None:
    """What the envelope says is taken as sent; what it leaves out comes from the question."""
    page = decode_page(envelope([], **sent), page=7, limit=10)
    assert (page.count, page.has_next, page.total_pages, page.current_page) == expected


def test_page_count_of_huge_lists() -> None:
    """Pages are counted exactly, however long the list."""
    page = decode_page(envelope([], count=10**400 + 1, total_pages=...), limit=10)
    assert page.total_pages == 10**399 + 1


def test_execution_pages_tell_of_their_execution() -> None:
    """A test execution's page carries status, provider, columns and messages; past the end only some."""
    sent = {"status": "evaluating", "provider": None, "agent_type": "voice", "error_messages": ["Skipped."]}
    columns = [{"id": "timestamp", "column_name": "Time", "visible": True}]
    page = decode_page(envelope([], **sent, column_order=columns), EXECUTION)
    assert isinstance(page, TestExecutionPage)
    assert (page.status, page.provider, page.agent_type) == ("evaluating", None, "voice")
    assert page.error_messages == ("Skipped.",)
    assert page.column_order == (Column("timestamp", "Time", visible=True),)
    past = decode_page(envelope([]), EXECUTION)
    assert isinstance(past, TestExecutionPage)
    assert (past.provider, past.agent_type, past.column_order, past.error_messages) == (None, None, (), ())


BAD_ENVELOPES: list[tuple[dict[str, Any], str]] = [
    ({"count": ...}, "$"),
    ({"results": ...}, "$"),
    ({"count": None}, "$.count"),
    ({"count": "5"}, "$.count"),
    ({"count": -1}, "$.count"),
    ({"count": 5.5}, "$.count"),
    ({"count": True}, "$.count"),
    ({"results": None}, "$.results"),
    ({"results": {}}, "$.results"),
    ({"results": "[]"}, "$.results"),
    ({"next": 5}, "$.next"),
    ({"next": True}, "$.next"),
    ({"error_messages": "Skipped."}, "$.error_messages"),
    ({"error_messages": ["ok", 5]}, "$.error_messages[1]"),
]
"""What completeness rests on, or whether filters were applied."""

ODD_ENVELOPES: list[tuple[dict[str, Any], str]] = [
    ({"total_pages": "5"}, "$.total_pages"),
    ({"current_page": -5}, "$.current_page"),
    ({"status": False}, "$.status"),
    ({"column_order": {}}, "$.column_order"),
    ({"column_order": [{"id": "a"}, {"id": 5}]}, "$.column_order[1].id"),
    ({"column_order": [5]}, "$.column_order[0]"),
]
"""What else an envelope holds."""


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"count": 1, "count": 2, "results": []}', "count"),
        (b'{"count": 1, "results": [{"id": "a"}], "next": null, "count": 2}', "count"),
        (b'{"count": 1, "results": [{"id": "a"}], "results": [{"id": "b"}]}', "results"),
        (b'{"count": 1, "results": [], "column_order": [{"id": "a", "id": "b"}]}', "id"),
    ],
)
def test_an_envelope_names_each_key_once(body: bytes, key: str) -> None:
    """Of two counts nobody knows which is meant; the next answer may be better."""
    with pytest.raises(DecodingError, match=f"The key '{key}' occurs twice") as caught:
        decoding.decode_list(body, requests.RUN_TEST_CALLS)
    assert caught.value.retryable


_TEXTS = st.text(st.sampled_from('ab:",\\{} é'), max_size=4)
_VALUES = st.recursive(
    st.none() | st.integers() | _TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.lists(st.tuples(_TEXTS, inner), max_size=2).map(tuple),
    max_leaves=4,
)


def _escape_all(value: Any) -> str:
    """Write a text with each of its characters as an escape."""
    if not isinstance(value, str):
        return json.dumps(value)
    return '"' + "".join(f"\\u{ord(character):04x}" for character in value) + '"'


def _json(value: Any, dumps: Callable[[Any], str], colon: str) -> str:
    """Write JSON in which a tuple is an object, as pairs of keys and values."""
    if isinstance(value, tuple):
        return "{" + ",".join(dumps(key) + colon + _json(item, dumps, colon) for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_json(item, dumps, colon) for item in value) + "]"
    return dumps(value)


def _repeats(value: Any) -> bool:
    if isinstance(value, tuple):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(_repeats(item) for _, item in value)
    return isinstance(value, list) and any(map(_repeats, value))


@given(
    st.lists(st.tuples(_TEXTS, _VALUES), max_size=4).map(tuple),
    st.sampled_from([json.dumps, partial(json.dumps, ensure_ascii=False), _escape_all]),
    st.sampled_from([":", " : "]),
)
@example((("a", 1), ("a", ":")), _escape_all, ":")
def test_a_key_that_comes_twice_is_found_wherever_it_is(
    pairs: Any, dumps: Callable[[Any], str], colon: str
) -> None:
    """Whatever the keys and texts are made of, colons, quotes and escapes among them, and nowhere else."""
    body = _json(pairs, dumps, colon).encode()
    with pytest.raises(DecodingError) if _repeats(pairs) else nullcontext():
        check_keys(body, [], "/")


LONG = b'{"id": "a", "x": "%b", "y": %%b, "z": "%b"}' % (b"x" * 100, b"z" * 100)


@pytest.mark.parametrize(("before", "after"), [(LONG % b"1", b"1"), (b"1", LONG % b"1"), (LONG % b"1",) * 2])
def test_what_begins_or_ends_like_a_record_is_not_taken_for_it(before: bytes, after: bytes) -> None:
    """The envelope is looked through to its ends, whatever in it resembles a record."""
    body = b'{"x": %b, "count": 1, "count": 2, "results": [%b], "y": %b}' % (before, LONG % b"2", after)
    with pytest.raises(DecodingError, match="The key 'count' occurs twice"):
        decoding.decode_list(body, requests.RUN_TEST_CALLS)


@pytest.mark.parametrize("record", [b"{}", b'{"id": "a", "x": {"x": 1}}', b'"count"', b"1"])
def test_records_that_look_like_the_envelope(record: bytes) -> None:
    """Whatever a record holds, it is not taken for a key of the envelope."""
    body = b'{"x": {}, "count": 1, "results": [%b, %b], "next": null, "column_order": [{}]}' % (
        record,
        record,
    )
    assert len(decoding.decode_list(body, requests.RUN_TEST_CALLS).results) == 2


@pytest.mark.parametrize(
    ("sent", "path", "checks"),
    [(*case, checks) for case in BAD_ENVELOPES for checks in (LENIENT, STRICT)]
    + [({"status": 5, **sent}, path, LENIENT) for sent, path in BAD_ENVELOPES]
    + [(*case, STRICT) for case in ODD_ENVELOPES],
)
def test_wrong_envelopes(sent: dict[str, Any], path: str, checks: Checks) -> None:
    """A wrong envelope is an error with its path, and is not asked for again."""
    with pytest.raises(DecodingError) as caught:
        decode_page(envelope([samples.served_row()], **sent), EXECUTION, checks=checks)
    error = caught.value
    assert (error.endpoint, error.json_path) == (requests.TEST_EXECUTION, path)
    assert not error.retryable


WRONG: list[tuple[str, Any]] = [
    ("id", None),
    ("id", 5),
    ("id", ...),
    ("id", ["a"]),
    ("status", 5),
    ("status", True),
    ("duration", "5"),
    ("duration", True),
    ("duration", []),
    ("duration_seconds", "5"),
    ("overall_score", "7.5"),
    ("overall_score", False),
    ("response_time", 10**400),
    ("avg_agent_latency_ms", -(10**400)),
    ("customer_name", 15550100),
    ("scenario", 5),
    ("scenario", []),
    ("scenario", {"name": 5}),
    ("scenario_id", 5),
    ("timestamp", 1_700_000_000),
    ("timestamp", "yesterday"),
    ("created_at", "2026-02-30T00:00:00Z"),
    ("start_time", ""),
    ("is_snapshot", 1),
    ("is_snapshot", "true"),
    ("total_tokens", "300"),
    ("csat_score", {}),
]


@pytest.mark.parametrize(
    ("name", "value", "checks"),
    [
        (name, value, checks)
        for name, value in WRONG
        for checks in (LENIENT, STRICT)
        if name == "id" or checks.strict
    ],
)
def test_what_fails_a_record(name: str, value: Any, checks: Checks) -> None:
    """An id that is none, or strictly any scalar of another type, fails the record, with its path."""
    good, bad = samples.served_row(), samples.served_row(**{name: value})
    page = decode_page(envelope([good, good, bad, good]), checks=checks)
    assert len(page.calls) == 3
    (failure,) = page.failures
    assert failure.index == 2
    assert failure.id == (CALL_ID if name != "id" else None)
    assert json.loads(failure.raw) == bad
    where = failure.error.json_path or ""
    assert where == "$.results[2]" if value is ... else where.startswith(f"$.results[2].{name}")
    assert failure.error.endpoint == requests.RUN_TEST_CALLS
    assert not failure.error.retryable
    assert where in str(failure.error)
    with pytest.raises(DecodingError) as caught:
        decode_detail(bad, checks)
    assert (caught.value.json_path or "").startswith("$" if value is ... else f"$.{name}")


@pytest.mark.parametrize("id_", [None, 5, ...])
def test_the_missing_id_is_what_is_wrong(id_: Any) -> None:
    """A record without an id is told so, whatever else is wrong with it."""
    page = decode_page(envelope([samples.served_row(status=5, id=id_)]))
    assert page.failures[0].error.json_path == ("$.results[0]" if id_ is ... else "$.results[0].id")


@pytest.mark.parametrize("bad", [None, [], 5, "text", True, {}, [samples.served_row()]])
def test_records_that_are_no_call_fail_alone(bad: Any) -> None:
    """Whatever stands in a record's place, the page's other records arrive."""
    page = decode_page(envelope([samples.served_row(), bad, samples.served_snapshot_row()]))
    assert [call.is_snapshot for call in page.calls] == [False, True]
    (failure,) = page.failures
    assert (failure.index, failure.id, failure.error.json_path) == (1, None, "$.results[1]")
    assert json.loads(failure.raw) == bad


DECODERS: dict[str, Any] = {
    "detail": lambda body: decoding.decode_call(body, requests.CALL),
    "kpis": lambda body: decoding.decode_kpis(body, requests.KPIS),
    "list": decode_page,
    "groups": lambda body: decoding.decode_groups(body, requests.TEST_EXECUTION, page=1, limit=10),
}
NO_ANSWER = {
    "empty": b"",
    "blank": b" \n",
    "html": b"<!doctype html><title>502</title>",
    "null": b"null",
    "list": b"[]",
    "number": b"5",
    "text": b'"text"',
    "cut": b'{"count": 1, "results": [{"id": "a"',
    "two": b'{"id": "a", "count": 0, "results": []}{}',
    "trailing": b'{"id": "a", "count": 0, "results": []} x',
    "NaN": b'{"id": "a", "count": 0, "results": [NaN], "x": NaN}',
    "Infinity": b'{"id": "a", "count": 0, "results": [-Infinity], "x": -Infinity}',
    "comma": b'{"id": "a", "count": 0, "results": [],}',
    "quotes": b"{'id': 'a'}",
    "control": b'{"id": "a\x01", "count": 0, "results": ["\x01"]}',
    "latin-1": '{"id": "ä", "count": 0, "results": ["ä"]}'.encode("latin-1"),
    "utf-16": '{"id": "a"}'.encode("utf-16"),
    "bad utf-8 in a part": b'{"id": "a", "count": 0, "results": [], "transcript": "\xff"}',
    "surrogate as utf-8": b'{"id": "a", "count": 0, "results": [], "x": "\xed\xa0\x80"}',
    "byte order mark": b'\xef\xbb\xbf{"id": "a", "count": 0, "results": []}',
    "deep arrays": b'{"id": "a", "count": 0, "results": [' + b"[" * 200_000 + b"]" * 200_000 + b"]}",
    "deep objects": b'{"id": "a", "count": 0, "results": [], "x": '
    + b'{"x":' * 200_000
    + b"1"
    + b"}" * 200_001,
}


NOT_UTF8 = {"latin-1", "bad utf-8 in a part", "surrogate as utf-8"}
"""Cases in which only records, or keys that nobody reads, are not UTF-8."""


@pytest.mark.parametrize(
    ("decoder", "case"),
    [
        (decoder, case)
        for decoder in DECODERS
        for case in NO_ANSWER
        if decoder not in ("list", "groups") or case not in NOT_UTF8
    ],
)
def test_bytes_that_are_no_answer(decoder: str, case: str) -> None:
    """What is no JSON object is a `DecodingError` with an excerpt, worth another try, and nothing else."""
    with pytest.raises(DecodingError) as caught:
        DECODERS[decoder](NO_ANSWER[case])
    error = caught.value
    assert error.retryable
    assert (error.json_path, error.__context__ is None or error.__suppress_context__) == ("$", True)
    assert len(error.body or "") <= 200
    assert str(error).encode()


@pytest.mark.parametrize("decoder", ["detail", "list"])
def test_wrong_shape_is_final(decoder: str) -> None:
    """A JSON object of the wrong shape is not asked for again."""
    with pytest.raises(DecodingError, match="missing required field") as caught:
        DECODERS[decoder](b' {"result": {}, "message": "No."}')
    assert not caught.value.retryable


def test_groups_are_mappings_as_sent() -> None:
    """Grouped rows are read-only mappings; a row of another shape is an error with its path."""
    rows = [{"scenario": "A", "count": 5, "avg_overall_score": None}, {}]
    columns = [{"id": "scenario"}]
    body = envelope(rows, next="?page=2", count=31, column_order=columns, error_messages=["Hm."])
    groups = decoding.decode_groups(body, requests.TEST_EXECUTION, page=1, limit=30)
    assert list(groups.groups) == rows
    assert (groups.count, groups.has_next, groups.error_messages) == (31, True, ("Hm.",))
    assert groups.column_order == (Column("scenario"),)
    with pytest.raises(TypeError):
        groups.groups[0]["count"] = 6  # type: ignore[index]
    with pytest.raises(DecodingError) as caught:
        decoding.decode_groups(envelope([{}, 5]), requests.TEST_EXECUTION, page=1, limit=30)
    assert caught.value.json_path == "$.results[1]"


@pytest.mark.parametrize("kind", [CallExecution, ExecutionKPIs, Column])
def test_converter_raises_nothing_else(kind: type) -> None:
    """The converter's own hooks give values or `DecodingError`, without cattrs' wrapping."""
    context = ListContext(requests.CALL, "$", strict=True)
    part = Fragment(b'{"id": 5, "total_calls": []}', requests.CALL, "$", context)
    with pytest.raises(DecodingError):
        decoding.converter().structure(part, kind)


def test_huge_page_is_skimmed() -> None:
    """Records are cut out of a page without being looked into, and keep the sender's spacing."""
    spaced = b'{"count": 1, "results": [ {"id" : "a" , "x":\t[1 ] } ]}'
    wire = decoding.decode_list(spaced, requests.RUN_TEST_CALLS)
    assert [bytes(record) for record in wire.results] == [b'{"id" : "a" , "x":\t[1 ] }']
    page = decode_page(spaced)
    assert page.calls[0].extra == {"x": [1]}
    assert msgspec.json.decode(page.calls[0].raw) == {"id": "a", "x": [1]}


def test_a_record_that_is_not_utf8_fails_alone() -> None:
    """Bytes that are no text spoil their record, wherever in it they are, and not its neighbours."""
    body = b'{"count": 2, "results": [{"id": "a", "x": {"y": "\xff"}}, {"id": "b"}]}'
    wire = decoding.decode_list(body, requests.RUN_TEST_CALLS)
    failure, call = decoding.decode_records(wire.results, 0, None, requests.RUN_TEST_CALLS)
    assert isinstance(failure, RecordFailure)
    assert failure.error.json_path == "$.results[0]"
    assert "not UTF-8" in failure.error.message
    assert not failure.error.retryable
    assert call.id == "b"


BAD = {"id": "a", "transcript": ["hello"]}
GOOD = {"id": "b", "transcript": [{"role": "user", "content": "hello"}]}


def _respond(server: StandInServer, body: Any) -> None:
    server.respond("/simulate/", body=json.dumps(body).encode())


@pytest.mark.anyio
async def test_a_malformed_part_fails_its_record_at_once(futureagi_server: StandInServer) -> None:
    """With eager checks the record is among the failures, with the path; its neighbour is there."""
    _respond(futureagi_server, {"count": 2, "next": None, "results": [BAD, GOOD]})
    async with open_session(futureagi_server, validate="eager") as session:
        page = await session.get_page(RunTestCalls(futureagi_server.run_test_ids[0]))
    assert [call.id for call in page.calls] == ["b"]
    assert page.failures[0].error.json_path == "$.results[0].transcript[0]"


@pytest.mark.anyio
async def test_lazily_it_fails_when_it_is_read(futureagi_server: StandInServer) -> None:
    """By default the record arrives, and its malformed part raises when it is read."""
    _respond(futureagi_server, {"count": 2, "next": None, "results": [BAD, GOOD]})
    async with open_session(futureagi_server) as session:
        page = await session.get_page(RunTestCalls(futureagi_server.run_test_ids[0]))
    assert [call.id for call in page.calls] == ["a", "b"]
    with pytest.raises(DecodingError, match="transcript"):
        _ = page.calls[0].transcript


@pytest.mark.anyio
@pytest.mark.parametrize("validate", ["lazy", "eager"])
async def test_a_detail_is_checked_likewise(
    futureagi_server: StandInServer, validate: Literal["lazy", "eager"]
) -> None:
    """A detail with a malformed part raises at once where checks are eager, else on access."""
    _respond(futureagi_server, BAD)
    async with open_session(futureagi_server, validate=validate) as session:
        if validate == "eager":
            with pytest.raises(DecodingError, match="transcript"):
                await session.get_call_execution(futureagi_server.run_test_ids[0])
            return
        call = await session.get_call_execution(futureagi_server.run_test_ids[0])
    with pytest.raises(DecodingError, match="transcript"):
        _ = call.transcript


@pytest.mark.anyio
async def test_both_ways_give_equal_calls(server: StandInServer) -> None:
    """Eager and lazy calls of a page are equal in every field, in both dialects."""
    source = RunTestCalls(server.run_test_ids[0])
    async with open_session(server) as lazy, open_session(server, validate="eager") as eager:
        pages = [await session.get_page(source, limit=1_000) for session in (lazy, eager)]
    one, other = ({call.id: call for call in page.calls} for page in pages)
    assert one == other
    assert not pages[1].failures
