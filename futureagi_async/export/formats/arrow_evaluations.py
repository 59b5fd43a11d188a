"""The evaluations of calls -> Arrow columns of the long table."""

from typing import Any

import msgspec

from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.arrow_columns import CallColumns
from futureagi_async.export.formats.arrow_types import Arrow, array, is_double, json_array
from futureagi_async.export.formats.details import evaluations_of
from futureagi_async.export.formats.schema import EVALUATIONS, SOURCE
from futureagi_async.models import EvalOutput


def evaluations_batch(columns: CallColumns, schema: Arrow, pa: Arrow) -> Arrow:
    """Return a record batch; evaluations of no known shape are put aside instead."""
    rows: list[int] = []
    outputs: list[EvalOutput] = []
    for row, call in enumerate(columns.calls):
        try:
            found = evaluations_of(call, columns.fields[row])
        except DecodingError:
            columns.put_aside(row, "eval_outputs", columns.fields[row]["eval_outputs"])
            continue
        rows += [row] * len(found)
        outputs += found.values()
    arrays = {name: array(pa, values, EVALUATIONS[name]) for name, values in _plain_columns(outputs).items()}
    arrays["value"] = json_array(pa, [msgspec.json.encode(output.value) for output in outputs])
    places = pa.array(rows, pa.int32())
    arrays["call_id"] = array(pa, [call.id for call in columns.calls], "text").take(places)
    arrays |= {name: columns.origin(name).take(places) for name in SOURCE}
    return pa.RecordBatch.from_arrays([arrays[name] for name in EVALUATIONS], schema=schema)


def _plain_columns(outputs: list[EvalOutput]) -> dict[str, list[Any]]:
    values = [output.value for output in outputs]
    errors = [output.error for output in outputs]
    return {
        "evaluation_id": [output.id for output in outputs],
        "name": [output.name for output in outputs],
        "type": [output.type for output in outputs],
        "value_number": list(map(_number, values)),
        "value_text": [value if type(value) is str else None for value in values],
        "reason": [output.reason for output in outputs],
        "status": [output.status for output in outputs],
        "error": [bool(error) for error in errors],
        "error_text": [error if type(error) is str else None for error in errors],
        "skipped": [output.skipped for output in outputs],
        "pending": [output.pending for output in outputs],
    }


def _number(value: Any) -> float | None:
    """Return a number that a double holds exactly."""
    if type(value) is float:
        return value
    return float(value) if type(value) is int and is_double(value) else None
