"""The evaluations of calls -> Arrow columns of the long table, without an object for each."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
from msgspec import UNSET

from futureagi_async._sansio.decoding.wire import EvalWire
from futureagi_async.export.formats.arrow_types import Arrow, array, is_double, joined_array
from futureagi_async.export.formats.details import Entries
from futureagi_async.export.formats.schema import EVALUATIONS, SOURCE

_encode_lines = msgspec.json.Encoder().encode_lines


def evaluations_batch(
    pa: Arrow, calls: Arrow, entries: Sequence[Entries], schema: Arrow
) -> tuple[Arrow, list[int]]:
    """Return a record batch, and of each of its rows which row of ``calls`` it belongs to."""
    rows = [row for row, found in enumerate(entries) for _ in found]
    wires = [
        entry if type(entry) is EvalWire else EvalWire(value=entry)  # the legacy ones are bare values
        for found in entries
        for entry in found.values()
    ]
    values, columns = _plain_columns(wires)
    columns["evaluation_id"] = list(chain.from_iterable(entries))
    arrays = {name: array(pa, column, EVALUATIONS[name]) for name, column in columns.items()}
    arrays["value"] = joined_array(pa, _encode_lines(values).split(b"\n")[:-1])
    places = pa.array(rows, pa.int32())
    arrays["call_id"] = calls.column("id").take(places)
    arrays |= {name: calls.column(name).take(places) for name in SOURCE}
    return pa.RecordBatch.from_arrays([arrays[name] for name in EVALUATIONS], schema=schema), rows


def _plain_columns(wires: Sequence[EvalWire]) -> tuple[list[Any], dict[str, list[Any]]]:
    """Return the values, and the plain columns, by the rules of the decoder's ``structure_evals``."""
    sent = [wire.output if wire.value is UNSET else wire.value for wire in wires]
    types = [wire.output_type if wire.type is UNSET else wire.type for wire in wires]
    statuses = [wire.status for wire in wires]
    values = [None if value is UNSET else value for value in sent]
    return values, {
        "name": [wire.name for wire in wires],
        "type": [None if kind is UNSET else kind for kind in types],
        "value_number": [value if type(value) is float else _number(value) for value in values],
        "value_text": [value if type(value) is str else None for value in values],
        "reason": [wire.reason for wire in wires],
        "status": statuses,
        "error": [bool(wire.error) for wire in wires],
        "error_text": [wire.error or None if type(wire.error) is str else None for wire in wires],
        "skipped": [bool(wire.skipped) or wire.status == "skipped" for wire in wires],
        "pending": [
            value is UNSET and status in (None, "pending")
            for value, status in zip(sent, statuses, strict=True)
        ],
    }


def _number(value: Any) -> float | None:
    """Return a whole number that a double holds exactly."""
    return float(value) if type(value) is int and is_double(value) else None
