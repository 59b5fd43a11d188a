"""Bytes of the server -> models, through one cattrs converter that knows both dialects.

A page is an envelope and a list of raw records; each record is decoded from its own bytes, so that
one malformed record fails alone. Scalars are checked at once. Nested parts are structured when they
are first read, by the hooks of the same converter. Nothing is coerced.

The quirks, which `wire`, `calls`, `nested` and `kpis` know:

* Names: ``simulatorAgentName``, ``transcripts``, ``scenario_name``, ``recording_url``, ... fill the
  documented field; a key that filled none is in ``extra``.
* Units: the served API sends milliseconds in ``avg_agent_latency`` and
  ``avg_stop_time_after_interruption``, in a snapshot's ``response_time``, and in three KPIs.
* Evaluations come as ``{value, type}`` or ``{output, output_type}``, or as bare legacy values.
* Test executions, and versions for text calls, send ``[]`` for a transcript they withhold.
"""

import operator
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding import calls, kpis, nested
from futureagi_async._sansio.decoding.fragments import (
    JSON_ERRORS,
    Fragment,
    ListContext,
    check_keys,
    check_text,
    decoding_error,
    id_of,
    structure_object,
)
from futureagi_async._sansio.decoding.nested import Evals, Turns
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
        (CallExecution, calls.make_call_hook(made.structure)),
        (ExecutionKPIs, _hook(kpis.structure_kpis)),
        (Column, _hook(nested.structure_column)),
        (Turns, _hook(nested.structure_turns)),
        (Evals, _hook(nested.structure_evals)),
    ):
        made.register_structure_hook_func(partial(operator.eq, kind), hook)
    return made


def decode_call(body: bytes, endpoint: str, *, eager: bool = False) -> CallExecution:
    """Decode a call's full detail; ``eager`` structures its nested parts at once."""
    fragment = Fragment(body, endpoint, "$")
    check_text(fragment)
    call = _structure(fragment, CallExecution)
    if eager:
        read_lazy_fields(call)
    return call


def decode_kpis(body: bytes, endpoint: str) -> ExecutionKPIs:
    """Decode a test execution's key figures."""
    check_keys(body, (), endpoint)
    return _structure(Fragment(body, endpoint, "$"), ExecutionKPIs)


def decode_list(body: bytes, endpoint: str) -> ListWire:
    """Decode a list's envelope and find its records' bytes, without looking into them."""
    try:
        wire = _LIST.decode(body)
    except JSON_ERRORS as error:
        raise decoding_error(error, body, endpoint, "$") from None
    check_keys(body, wire.results, endpoint)
    return wire


def decode_records(
    records: Sequence[Raw], first_index: int, source: CallSource, endpoint: str, *, eager: bool = False
) -> list[CallExecution | RecordFailure]:
    """Decode some of a list's records; those that fail come back as `RecordFailure`.

    ``eager`` structures the nested parts at once, so that a malformed one fails its record here.
    """
    decoded: list[CallExecution | RecordFailure] = []
    list_context = ListContext(endpoint, "$.results", source)
    structure = converter().get_structure_hook(CallExecution)
    fragment = Fragment(b"", endpoint, "$.results", list_context)
    for fragment.index, record in enumerate(records, first_index):
        fragment.raw = bytes(record)
        try:
            check_text(fragment)
            call = structure(fragment, CallExecution)
            if eager:
                read_lazy_fields(call)
            decoded.append(call)
        except DecodingError as error:
            # without its frames, which would keep the whole page alive
            error = error.with_traceback(None)
            decoded.append(RecordFailure(fragment.index, id_of(fragment.raw), error, fragment.raw))
    return decoded


def decode_record(raw: bytes, source: CallSource, endpoint: str) -> CallExecution:
    """Decode one record of a list from bytes that decoded before."""
    return _structure(Fragment(raw, endpoint, "$", ListContext(endpoint, "$", source)), CallExecution)


def build_page(
    wire: ListWire,
    decoded: Sequence[CallExecution | RecordFailure],
    source: CallSource,
    *,
    page: int,
    limit: int,
    endpoint: str,
    elapsed: float | None = None,
) -> CallPage:
    """Put an envelope and its decoded records together."""
    shared: dict[str, Any] = {
        **_envelope(wire, page, limit),
        "calls": tuple(item for item in decoded if isinstance(item, CallExecution)),
        "failures": tuple(item for item in decoded if isinstance(item, RecordFailure)),
        "error_messages": tuple(wire.error_messages or ()),
        "elapsed": elapsed,
    }
    if not isinstance(source, TestExecutionCalls):
        return CallPage(**shared)
    return TestExecutionPage(
        **shared,
        status=wire.status,
        provider=wire.provider,
        agent_type=wire.agent_type,
        column_order=decode_columns(wire, endpoint),
    )


def decode_groups(body: bytes, endpoint: str, *, page: int, limit: int) -> GroupPage:
    """Decode a page of grouped rows."""
    wire = decode_list(body, endpoint)
    groups: list[ReadOnlyDict[JsonValue]] = []
    for index, record in enumerate(wire.results):
        fragment = Fragment(bytes(record), endpoint, f"$.results[{index}]")
        groups.append(structure_object(fragment))
    return GroupPage(
        **_envelope(wire, page, limit),
        groups=tuple(groups),
        column_order=decode_columns(wire, endpoint),
        error_messages=tuple(wire.error_messages or ()),
    )


def decode_columns(wire: ListWire, endpoint: str) -> tuple[Column, ...]:
    """Decode the columns that an answer about a test execution names; none where it names none."""
    return tuple(
        _structure(Fragment(bytes(raw), endpoint, f"$.column_order[{index}]"), Column)
        for index, raw in enumerate(wire.column_order or ())
    )


_LIST = msgspec.json.Decoder(ListWire)


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
