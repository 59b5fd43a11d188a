"""Whatever a server sends, decoding gives values or `DecodingError`, and nothing else."""

import json
import sys
from copy import deepcopy
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from futureagi_async._sansio import decoding, requests
from futureagi_async.errors import DecodingError
from futureagi_async.models import CallExecution, TranscriptTurn
from futureagi_async.sources import CallSource
from tests.support import samples
from tests.support.samples import EXECUTION, RUN_TEST, VERSION, decode_page, envelope
from tests.support.slow import examples

ROWS = [
    samples.served_row(rerun_snapshots=[samples.nested_snapshot()]),
    samples.served_chat_row(),
    samples.served_snapshot_row(),
    samples.served_version_row(),
    samples.documented_row(),
    samples.documented_run_test_row(),
]
KEYS = sorted({key for row in ROWS for key in row})
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just(10**400)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
SOURCES = st.sampled_from([RUN_TEST, VERSION, EXECUTION])


def read_all(call: CallExecution) -> None:
    """Read every part of a call; `DecodingError` may be raised, and must have its path."""
    for field in (*(field.name for field in attrs.fields(CallExecution)), "recording_urls"):
        try:
            value = getattr(call, field)
        except DecodingError as error:
            assert (error.json_path or "").startswith("$.results[")  # noqa: PT017 - either outcome is right
            continue
        if field == "rerun_snapshots":
            for snapshot in value or ():
                read_all(snapshot)
        if field == "transcript":
            for turn in value or ():
                read_turn(turn)
    repr(call)


def read_turn(turn: TranscriptTurn) -> None:
    """Read a turn; its content is text, or beside the call."""
    assert turn.content is None or isinstance(turn.content, str)
    try:
        _ = turn.extra
    except DecodingError as error:
        assert ".transcript" in (error.json_path or "")  # noqa: PT017 - either outcome is right


def check_page(body: bytes, source: CallSource) -> bool:
    """Decode a page wholly; tell whether it was one."""
    try:
        page = decode_page(body, source)
    except DecodingError as error:
        assert error.endpoint  # noqa: PT017 - either outcome is right
        return False
    for call in page.calls:
        read_all(call)
    assert all(
        failure.error.json_path.startswith("$.results[")
        for failure in page.failures
        if failure.error.json_path
    )
    return True


@given(records=st.lists(JSON, max_size=4), source=SOURCES)
def test_any_json_as_records(records: list[Any], source: CallSource) -> None:
    """Any JSON in a record's place gives a call or a failure, one for one and in order."""
    page = decode_page(envelope(records), source)
    assert len(page.calls) + len(page.failures) == len(records)
    failed = {failure.index for failure in page.failures}
    kept = [record for index, record in enumerate(records) if index not in failed]
    assert [json.loads(call.raw) for call in page.calls] == kept
    for call in page.calls:
        read_all(call)


@given(record=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8), source=SOURCES)
def test_any_values_under_known_keys(record: samples.Row, source: CallSource) -> None:
    """Any values under the keys of a call give a call or a failure, and parts or errors with a path."""
    assert check_page(envelope([{"id": "a", **record}]), source)


@st.composite
def changed_rows(draw: st.DrawFn) -> list[samples.Row]:
    """Take good rows and replace one value anywhere inside them."""
    rows: Any = deepcopy(ROWS)
    place: Any = rows
    while True:
        key = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        place[key] = draw(JSON)
        return list(rows)


@settings(max_examples=examples(300))
@given(rows=changed_rows(), source=SOURCES)
def test_one_changed_value_spoils_one_record(rows: list[samples.Row], source: CallSource) -> None:
    """A value replaced anywhere inside a good page fails at most its own record."""
    page = decode_page(envelope(rows), source)
    assert len(page.failures) <= 1
    assert len(page.calls) + len(page.failures) == len(rows)
    for call in page.calls:
        read_all(call)


PARTS = sorted(CallExecution.lazy_fields)
ODD = {"role": 5, "name": 5}
"""As a turn or an evaluation, one with a misfit."""


def read_part(call: CallExecution, name: str) -> object:
    """Return a part, or where it is wrong."""
    try:
        return getattr(call, name)
    except DecodingError as error:
        return error.json_path


@settings(max_examples=examples(300))
@given(rows=changed_rows(), order=st.permutations(PARTS), source=SOURCES)
def test_parts_do_not_depend_on_each_other(
    rows: list[samples.Row], order: list[str], source: CallSource
) -> None:
    """Whichever parts were read before, a part is what it is where nothing else was read."""
    calls = decode_page(envelope(rows), source).calls
    for name in order:
        alone = decode_page(envelope(rows), source).calls
        assert [read_part(call, name) for call in calls] == [read_part(call, name) for call in alone]


def with_misfits(row: samples.Row) -> tuple[samples.Row, samples.Row]:
    """Return a row with a misfit more wherever one forbids decoding at once; and these misfits."""
    odd: samples.Row = {**row, "rerun_type": 5}
    misfits: samples.Row = {"rerun_type": 5}
    key = "transcript" if "transcript" in row else "transcripts"
    if isinstance(row.get(key), list):
        odd[key] = [*row[key], ODD]
        misfits[f"transcript[{len(row[key])}].role"] = 5
    if isinstance(row.get("eval_outputs"), dict):
        odd["eval_outputs"] = {**row["eval_outputs"], "odd": ODD}
        misfits["eval_outputs['odd'].name"] = 5
    return odd, misfits


@settings(max_examples=examples(300))
@given(rows=changed_rows(), source=SOURCES)
def test_decoding_at_once_and_value_by_value_agree(rows: list[samples.Row], source: CallSource) -> None:
    """What a misfit forces to be decoded value by value is, but for that, what it is without it."""
    for row in (row for row in rows if isinstance(row, dict)):
        sent = {**row, "rerun_type": None}
        odd, misfits = with_misfits(sent)
        whole, by_value = (decode_page(envelope([each]), source).calls for each in (sent, odd))
        assert len(whole) == len(by_value)
        for call, other in zip(whole, by_value, strict=True):
            parts = {name: (read_part(call, name), read_part(other, name)) for name in PARTS}
            turns, odd_turns = parts.pop("transcript")
            if isinstance(odd_turns, tuple):
                assert odd_turns[:-1] == (turns or ())  # of which the list may withhold that there are none
            else:
                assert odd_turns == turns
                misfits = {name: value for name, value in misfits.items() if "transcript" not in name}
            outputs, odd_outputs = parts.pop("eval_outputs")
            if isinstance(outputs, dict):
                assert isinstance(odd_outputs, dict)
                assert {key: value for key, value in odd_outputs.items() if key != "odd"} == outputs
            else:
                assert odd_outputs == outputs
            del parts["_without_provider_data"]
            assert all(one == another for one, another in parts.values())
            assert other.misfits == {**call.misfits, **misfits}
            rest = {"rerun_type": None, "misfits": call.misfits, "transcript": None, "eval_outputs": None}
            wrong = {name: None for name, (one, _) in parts.items() if isinstance(one, str)}
            assert attrs.evolve(other, **rest, **wrong) == attrs.evolve(call, **rest, **wrong)


def test_snapshots_of_any_depth() -> None:
    """A record that is nested just less deeply than can be decoded still gives values or `DecodingError`."""
    for depth in range(sys.getrecursionlimit() - 300, sys.getrecursionlimit()):
        deep = b"[" * depth + b"]" * depth
        check_page(b'{"count": 1, "results": [{"id": "a", "rerun_snapshots": %s}]}' % deep, RUN_TEST)


PAGE = envelope(
    ROWS, column_order=[{"id": "a", "eval_config": {"b": 1}}], error_messages=[], status="running"
)


@settings(max_examples=examples(300))
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(PAGE) - 1), st.integers(0, 3), st.binary(max_size=3)), max_size=4
    ),
    source=SOURCES,
)
def test_any_mutated_page(edits: list[tuple[int, int, bytes]], source: CallSource) -> None:
    """Bytes replaced, inserted or removed anywhere give values or `DecodingError`."""
    body = bytearray(PAGE)
    for position, length, put in edits:
        body[position : position + length] = put
    check_page(bytes(body), source)


@given(length=st.integers(0, len(PAGE) - 1))
def test_no_prefix_of_a_page_is_a_page(length: int) -> None:
    """A page that was cut anywhere is never taken for a whole one, and worth another try."""
    try:
        decode_page(PAGE[:length], EXECUTION)
    except DecodingError as error:
        assert error.retryable  # noqa: PT017 - checked below that one is raised
    else:
        raise AssertionError("a cut page was decoded")


@given(body=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_an_answer(body: bytes) -> None:
    """Any bytes at all in any answer's place give a value or `DecodingError`."""
    for decode in (
        lambda: decoding.decode_call(body, requests.CALL),
        lambda: decoding.decode_kpis(body, requests.KPIS),
        lambda: decoding.decode_groups(body, requests.TEST_EXECUTION, page=1, limit=10),
        lambda: decode_page(body),
    ):
        try:
            decode()
        except DecodingError as error:
            str(error).encode()


@given(st.integers(1, 3000))
def test_any_depth(depth: int) -> None:
    """Nesting of any depth is a part to be read, or a `DecodingError`, early or late."""
    deep = b"[" * depth + b"]" * depth
    for key in (
        b"x",
        b"transcript",
        b"eval_outputs",
        b"eval_metrics",
        b"scenario_columns",
        b"rerun_snapshots",
    ):
        check_page(b'{"count": 1, "results": [{"id": "a", "%s": %s}]}' % (key, deep), RUN_TEST)
