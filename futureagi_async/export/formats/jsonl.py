"""JSON Lines: records as the server sent them, or normalised to documented names and units."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, BinaryIO, Final, TypeAlias

import attrs
import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding.fragments import Fields
from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.records import (
    Batch,
    evaluations_of,
    extra_of,
    fields_of,
    in_utc,
    json_of,
    transcript_key,
    turns_of,
)
from futureagi_async.export.formats.schema import JSON_PARTS, MODEL_FIELDS, SourceColumns
from futureagi_async.models import CallExecution, EvalOutput
from futureagi_async.sources import CallSource

Object: TypeAlias = dict[str, Any]

_SCALARS: Final = [
    field.name for field in MODEL_FIELDS if field.name not in CallExecution.lazy_fields | {"id", "source"}
]
_AS_SENT: Final = [name for name in JSON_PARTS if name not in ("eval_outputs", "rerun_snapshots")]
_EVALUATION: Final = [field.name for field in attrs.fields(EvalOutput)]


def normalise(call: CallExecution, origins: SourceColumns) -> tuple[bytes, bool]:
    """Return the call as one JSON object, and whether parts of no known shape went to ``misfits``."""
    made = _object(call, origins)
    return msgspec.json.encode(made), made["misfits"] is not None


def _object(call: CallExecution, origins: SourceColumns) -> Object:
    fields = fields_of(call)
    misfits: dict[str, Raw] = {}

    def read(name: str, part: Callable[[], Any]) -> Any:
        try:
            return part()
        except (DecodingError, RecursionError):
            misfits[name] = fields[transcript_key(fields) if name == "transcript" else name]
            return None

    made: Object = {"id": call.id, "source": origins.named(call.source)}
    made |= {name: plain(getattr(call, name)) for name in _SCALARS}
    made["transcript"] = read("transcript", lambda: _turns(call, fields))
    made["eval_outputs"] = read("eval_outputs", lambda: _evaluations(call, fields))
    made |= {name: _sent(fields, name) for name in _AS_SENT}
    made["rerun_snapshots"] = read("rerun_snapshots", lambda: _snapshots(call, fields, origins))
    made["extra"] = Raw(extra_of(fields))
    made["misfits"] = misfits or None
    return made


def plain(value: Any) -> Any:
    """Return a scalar as JSON knows it: times in UTC, a scenario as an object."""
    if isinstance(value, datetime):
        return in_utc(value)
    return attrs.asdict(value) if attrs.has(type(value)) else value


def _sent(fields: Fields, name: str) -> Raw | None:
    sent = json_of(fields, name)
    return None if sent is None else Raw(sent)


def _turns(call: CallExecution, fields: Fields) -> list[Object] | None:
    turns = turns_of(call, fields)
    if turns is None:
        return None
    return [
        {
            "role": turn.role,
            "content": turn.content,
            "start_seconds": turn.start_seconds,
            "end_seconds": turn.end_seconds,
            "extra": turn.extra,
        }
        for turn in turns
    ]


def _evaluations(call: CallExecution, fields: Fields) -> dict[str, Object] | None:
    if json_of(fields, "eval_outputs") is None:
        return None
    return {
        key: {name: getattr(output, name) for name in _EVALUATION}
        for key, output in evaluations_of(call, fields).items()
    }


def _snapshots(call: CallExecution, fields: Fields, origins: SourceColumns) -> list[Object] | None:
    if json_of(fields, "rerun_snapshots") in (None, b"[]"):
        return None if json_of(fields, "rerun_snapshots") is None else []
    return [_object(snapshot, origins) for snapshot in call.rerun_snapshots or ()]


class LinesWriter:
    """Writes the records as they are in ``file``: the bytes that the server sent, one record a line."""

    misfits = 0
    """None: nothing can fail to fit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, batch: Batch) -> None:
        """Append one line a record; provider data stays where the records still hold it."""
        self._file.writelines(b"%b\n" % record for record in batch.raws)

    def close(self) -> None:
        """Do nothing: each record is written at once."""


class NormalisedWriter:
    """Writes calls into ``file`` in our names and units, one a line."""

    misfits = 0
    """Calls with a part of no known shape: it is under ``misfits``."""

    def __init__(self, file: BinaryIO, *, sources: Iterable[CallSource] = ()) -> None:
        self._file = file
        self._origins = SourceColumns(sources)

    def write(self, batch: Batch) -> None:
        """Append one line a call."""
        for call in batch.calls():
            line, has_misfits = normalise(call, self._origins)
            self._file.write(b"%b\n" % line)
            self.misfits += has_misfits

    def close(self) -> None:
        """Do nothing: each call is written at once."""
