"""Bytes of the server -> models, through one cattrs converter that knows both dialects.

A page is an envelope and a list of raw records; each record is decoded from its own bytes, so that
one malformed record fails alone. Scalars are checked at once. Nested parts are structured when they
are first read, by the hooks of the same converter. Nothing is coerced: what a field can't hold is kept
beside it (`misfits`).

The quirks, which `wire`, `calls`, `nested` and `kpis` know:

* Names: ``simulatorAgentName``, ``transcripts``, ``scenario_name``, ``recording_url``, ... fill the
  documented field; a key that filled none is in ``extra``.
* Units: the served API sends milliseconds in ``avg_agent_latency`` and
  ``avg_stop_time_after_interruption``, in a snapshot's ``response_time``, and in three KPIs.
* Evaluations come as ``{value, type}`` or ``{output, output_type}``, or as bare legacy values.
* Test executions, and versions for text calls, send ``[]`` for a transcript they withhold.
"""

import operator
from collections.abc import Callable, Generator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding import calls, kpis, nested
from futureagi_async._sansio.decoding.cutting import CutRecord, cut_records
from futureagi_async._sansio.decoding.fragments import (
    JSON_ERRORS,
    LENIENT,
    Checks,
    Fragment,
    ListContext,
    check_keys,
    check_text,
    decoding_error,
    id_of,
    structure_object,
)
from futureagi_async._sansio.decoding.misfits import Misfits, decode_list_leniently, placed, values_of
from futureagi_async._sansio.decoding.nested import Evals, Turns, structure_column_leniently
from futureagi_async._sansio.decoding.wire import ListWire
from futureagi_async.errors import DecodingError
from futureagi_async.models import (
    CallExecution,
    CallPage,
    Column,
    ExecutionKPIs,
    GroupPage,
    JsonValue,
    ReadOnlyDict,
    RecordFailure,
    TestExecutionPage,
)
from futureagi_async.models.lazy import read_lazy_fields
from futureagi_async.sources import CallSource, TestExecutionCalls

if TYPE_CHECKING:
    import cattrs


T = TypeVar("T")


@cache
def converter() -> "cattrs.Converter":
    """Return the converter; every hook takes a `Fragment`: bytes and where they stood."""
    import cattrs  # here, so that importing the package does not wait for it

    made = cattrs.Converter()
    for kind, hook in (
        (CallExecution, calls.make_call_hook(made.get_structure_hook)),
        (ExecutionKPIs, _hook(kpis.structure_kpis)),
        (Column, _hook(nested.structure_column)),
        (Turns, _hook(nested.structure_turns)),
        (Evals, _hook(nested.structure_evals)),
    ):
        made.register_structure_hook_func(partial(operator.eq, kind), hook)
    return made


def decode_call(body: bytes, endpoint: str, checks: Checks = LENIENT) -> CallExecution:
    """Decode a call's full detail."""
    fragment = Fragment(body, endpoint, "$", ListContext(endpoint, "$", strict=checks.strict))
    check_text(fragment)
    call = _structure(fragment, CallExecution)
    if checks.eager:
        read_lazy_fields(call)
    return call


def decode_kpis(body: bytes, endpoint: str, checks: Checks = LENIENT) -> ExecutionKPIs:
    """Decode a test execution's key figures."""
    fragment = Fragment(body, endpoint, "$", ListContext(endpoint, "$", strict=checks.strict))
    check_text(fragment)
    check_keys(body, (), endpoint)
    return _structure(fragment, ExecutionKPIs)


@attrs.define(frozen=True)
class ListBody:
    """A list's answer: its envelope, and its records as bytes."""

    wire: ListWire
    """The answer without what was cut off."""
    misfits: Misfits = attrs.field(factory=dict)
    cut: Sequence[CutRecord] = ()
    """The first records."""

    @property
    def results(self) -> Sequence[CutRecord | Raw]:
        """The records."""
        return [*self.cut, *self.wire.results]

    @property
    def error_messages(self) -> Sequence[str]:
        """What the server said about filters."""
        return self.wire.error_messages or ()


def decode_list(body: bytes, endpoint: str, checks: Checks = LENIENT) -> ListBody:
    """Decode the envelope of a list of calls, and find its records.

    What the records are counted by must be as documented, and so must be what says that filters were
    skipped; the rest may have misfits.
    """
    turns = decode_list_in_turns(body, endpoint, checks)
    while True:
        try:
            next(turns)
        except StopIteration as end:
            found: ListBody = end.value
            return found


def decode_list_in_turns(
    body: bytes, endpoint: str, checks: Checks = LENIENT
) -> Generator[None, None, ListBody]:
    """Do the same, and yield now and then for other tasks to run."""
    cut, rest = yield from cut_records(body)
    if not cut:
        return _decode_whole_list(body, endpoint, checks)
    try:
        found = ListBody(_decode_list(rest), cut=cut)
        check_keys(rest, found.wire.results, endpoint)
    except _REFUSALS:
        return _decode_whole_list(body, endpoint, checks)  # or say what is wrong, and where
    return found


def _decode_whole_list(body: bytes, endpoint: str, checks: Checks) -> ListBody:
    """Decode a list's envelope and find its records' bytes, without looking into them."""
    try:
        found = ListBody(_decode_list(body))
    except JSON_ERRORS as error:
        if checks.strict:
            raise decoding_error(error, body, endpoint, "$") from None
        try:
            found = ListBody(*decode_list_leniently(body))
        except JSON_ERRORS as worse:
            raise decoding_error(worse, body, endpoint, "$") from None
    check_keys(body, found.wire.results, endpoint)
    return found


def decode_records(
    records: Sequence[CutRecord | Raw],
    first_index: int,
    source: CallSource,
    endpoint: str,
    checks: Checks = LENIENT,
) -> list[CallExecution | RecordFailure]:
    """Decode some of a list's records; those that fail come back as `RecordFailure`."""
    decoded: list[CallExecution | RecordFailure] = []
    list_context = ListContext(endpoint, "$.results", source, checks.strict)
    structure = converter().get_structure_hook(CallExecution)
    fragment = Fragment(b"", endpoint, "$.results", list_context)
    for fragment.index, record in enumerate(records, first_index):
        if isinstance(record, CutRecord):
            fragment.raw, fragment.value = record
        else:
            fragment.raw, fragment.value = bytes(record), None
        try:
            check_text(fragment)
            call = structure(fragment, CallExecution)
            if checks.eager:
                read_lazy_fields(call)
            decoded.append(call)
        except DecodingError as error:
            # without its frames, which would keep the whole page alive
            error = error.with_traceback(None)
            decoded.append(RecordFailure(fragment.index, id_of(fragment.raw), error, fragment.raw))
    return decoded


def decode_record(raw: bytes, source: CallSource, endpoint: str, checks: Checks = LENIENT) -> CallExecution:
    """Decode one record of a list from bytes that decoded before."""
    context = ListContext(endpoint, "$", source, checks.strict)
    return _structure(Fragment(raw, endpoint, "$", context), CallExecution)


def build_page(
    body: ListBody,
    decoded: Sequence[CallExecution | RecordFailure],
    source: CallSource,
    *,
    page: int,
    limit: int,
    endpoint: str,
    checks: Checks = LENIENT,
    elapsed: float | None = None,
) -> CallPage:
    """Put an envelope and its decoded records together."""
    shared: dict[str, Any] = {
        **_envelope(body.wire, page, limit),
        "calls": tuple(item for item in decoded if isinstance(item, CallExecution)),
        "failures": tuple(item for item in decoded if isinstance(item, RecordFailure)),
        "error_messages": tuple(body.error_messages),
        "elapsed": elapsed,
    }
    if not isinstance(source, TestExecutionCalls):
        return CallPage(**shared, misfits=values_of(body.misfits))
    wire = body.wire
    columns, misfits = _columns(wire, endpoint, checks)
    return TestExecutionPage(
        **shared,
        status=wire.status,
        provider=wire.provider,
        agent_type=wire.agent_type,
        column_order=columns,
        misfits=values_of(body.misfits | misfits),
    )


def decode_groups(
    body: bytes, endpoint: str, *, page: int, limit: int, checks: Checks = LENIENT
) -> GroupPage:
    """Decode a page of grouped rows."""
    found = _decode_whole_list(body, endpoint, checks)
    groups: list[ReadOnlyDict[JsonValue]] = []
    for index, record in enumerate(found.wire.results):
        fragment = Fragment(bytes(record), endpoint, f"$.results[{index}]")
        groups.append(structure_object(fragment))
    columns, misfits = _columns(found.wire, endpoint, checks)
    return GroupPage(
        **_envelope(found.wire, page, limit),
        groups=tuple(groups),
        column_order=columns,
        error_messages=tuple(found.error_messages),
        misfits=values_of(found.misfits | misfits),
    )


_REFUSALS: tuple[type[Exception], ...] = (DecodingError, *JSON_ERRORS)
_decode_list = msgspec.json.Decoder(ListWire).decode


def _hook(structure: Callable[[Fragment], Any]) -> Callable[[Fragment, Any], Any]:
    return lambda fragment, _kind: structure(fragment)


def _structure(fragment: Fragment, kind: type[T]) -> T:
    return converter().structure(fragment, kind)


def _envelope(wire: ListWire, page: int, limit: int) -> dict[str, Any]:
    total_pages = wire.total_pages if wire.total_pages is not None else max(1, -(-wire.count // limit))
    return {
        "count": wire.count,
        "has_next": wire.next is not None,
        "total_pages": total_pages,
        "current_page": wire.current_page or page,
    }


def decode_columns(body: ListBody, endpoint: str, checks: Checks) -> tuple[Column, ...]:
    """Decode the columns that an answer about a test execution names; none where it names none."""
    return _columns(body.wire, endpoint, checks)[0]


def _columns(wire: ListWire, endpoint: str, checks: Checks) -> tuple[tuple[Column, ...], Misfits]:
    """Return the columns, and what did not fit: of one without a usable id, the whole."""
    columns: list[Column] = []
    misfits: Misfits = {}
    for index, raw in enumerate(wire.column_order or ()):
        fragment = Fragment(bytes(raw), endpoint, f"$.column_order[{index}]")
        try:
            columns.append(_structure(fragment, Column))
        except DecodingError:
            if checks.strict:
                raise
            found, without = structure_column_leniently(fragment)
            columns += found
            misfits |= placed(f"column_order[{index}]", without)
    return tuple(columns), misfits
