"""This package's part in the benchmarks: a page's bytes to typed records, without a session."""

from collections.abc import Iterable

from futureagi_async import CallExecution, RunTestCalls
from futureagi_async._sansio.decoding import build_page, decode_list, decode_records
from futureagi_async._sansio.requests import RUN_TEST_CALLS
from futureagi_async.models import CallPage

SOURCE = RunTestCalls("00000000-0000-4000-8000-000000000001")
NESTED = sorted(CallExecution.lazy_fields - {"extra"})


def decode(body: bytes) -> CallPage:
    """Return typed records: scalars checked, nested parts left for later, ``raw`` kept."""
    wire = decode_list(body, RUN_TEST_CALLS)
    records = decode_records(wire.results, 0, SOURCE, RUN_TEST_CALLS)
    page = build_page(wire, records, SOURCE, page=1, limit=len(records), endpoint=RUN_TEST_CALLS)
    assert not page.failures, page.failures[0]
    return page


def decode_and_touch(body: bytes) -> CallPage:
    """Return the same with every nested part structured."""
    return _decode_and_touch(body, NESTED)


def decode_and_touch_transcripts(body: bytes) -> CallPage:
    """Return the same with the transcripts structured, as most loops need it."""
    return _decode_and_touch(body, ("transcript",))


def decode_and_touch_evaluations(body: bytes) -> CallPage:
    """Return the same with the evaluations structured."""
    return _decode_and_touch(body, ("eval_outputs",))


def _decode_and_touch(body: bytes, names: Iterable[str]) -> CallPage:
    page = decode(body)
    for call in page.calls:
        for name in names:
            getattr(call, name)
    return page


def decode_and_touch_all(body: bytes) -> CallPage:
    """Return the same with the unknown keys of calls and turns looked at, too."""
    page = decode_and_touch(body)
    for call in page.calls:
        assert call.extra is not None
        for turn in call.transcript or ():
            assert turn.extra is not None
    return page
