"""JSON Lines: records as the server sent them, or normalised to documented names and units."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, TypeAlias

import attrs
import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding.fragments import Fields
from futureagi_async._sansio.decoding.misfits import Misfits, placed
from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.jsonl_fast import TRANSCRIPTS, FastLines
from futureagi_async.export.formats.projection import GROUPS, WHOLE, Projection
from futureagi_async.export.formats.records import (
    Batch,
    evaluations_of,
    extra_of,
    fields_of,
    json_of,
    misfits_of,
    transcript_key,
    turns_of,
)
from futureagi_async.export.formats.row_schemas import RowColumns, RowSchemas, SlowPathNeededError
from futureagi_async.export.formats.schema import JSON_PARTS, MODEL_FIELDS, SourceColumns
from futureagi_async.models import CallExecution, EvalOutput, TranscriptTurn
from futureagi_async.sources import CallSource

Object: TypeAlias = dict[str, Any]

_ELSEWHERE = CallExecution.lazy_fields | {"id", "source", "misfits"}
_SCALARS: Final = [field.name for field in MODEL_FIELDS if field.name not in _ELSEWHERE]
_AS_SENT: Final = [name for name in JSON_PARTS if name not in ("eval_outputs", "rerun_snapshots")]
_EVALUATION: Final = [field.name for field in attrs.fields(EvalOutput)]


@attrs.define(frozen=True)
class Normaliser:
    """Makes a line for each call, with the columns of a projection."""

    source_columns: SourceColumns
    projection: Projection = WHOLE

    @property
    def keys(self) -> list[str]:
        """The keys of each object, in their order."""
        names = ("id", "source", *_SCALARS, "transcript", "eval_outputs", *_AS_SENT)
        kept = self.projection.calls
        return [
            name
            for name in (*names, "rerun_snapshots", "extra", "misfits")
            if not kept.keys().isdisjoint(GROUPS.get(name, (name,)))
        ]

    def line(self, call: CallExecution) -> tuple[bytes, bool]:
        """Return the call as one JSON object, and whether it has ``misfits``."""
        made = self._object(call)
        return msgspec.json.encode(made), made.get("misfits") is not None

    def _object(self, call: CallExecution) -> Object:
        kept = self.projection.calls
        fields = fields_of(call)
        misfits = misfits_of(call)
        made: Object = {"id": call.id, "source": self.source_columns.named(call.source)}
        made |= {name: plain(getattr(call, name)) for name in _SCALARS if name in kept or name == "scenario"}
        if "transcript" in kept:
            made["transcript"] = _turns(call, fields, misfits)
        if "eval_outputs" in kept:
            made["eval_outputs"] = _evaluations(call, fields, misfits)
        made |= {name: _sent(fields, name) for name in _AS_SENT if name in kept}
        if "rerun_snapshots" in kept:
            made["rerun_snapshots"] = self._snapshots(call, fields, misfits)
        if "extra" in kept:
            made["extra"] = Raw(extra_of(fields, self.projection.removed_keys))
        if "misfits" in kept:
            made["misfits"] = self.projection.misfits(misfits) or None
        return self._reduced(made) if self.projection.left_out else made

    def _reduced(self, made: Object) -> Object:
        """Remove left-out columns from the objects that hold several columns."""
        kept = self.projection.calls
        source = made["source"] or {}
        made["source"] = {name: each for name, each in source.items() if f"source_{name}" in kept} or None
        scenario = made["scenario"] or {}
        chosen = {name: each for name, each in scenario.items() if f"scenario_{name}" in kept}
        made["scenario"] = chosen or None
        gone = [name for name in GROUPS if kept.keys().isdisjoint(GROUPS[name])]
        return {name: value for name, value in made.items() if name not in gone}

    def _snapshots(self, call: CallExecution, fields: Fields, misfits: Misfits) -> list[Object] | None:
        if json_of(fields, "rerun_snapshots") in (None, b"[]"):
            return None if json_of(fields, "rerun_snapshots") is None else []
        try:
            made = [self._object(snapshot) for snapshot in call.rerun_snapshots or ()]
        except (DecodingError, RecursionError):
            misfits["rerun_snapshots"] = fields["rerun_snapshots"]
            return None
        for index, snapshot in enumerate(made):
            misfits |= placed(f"rerun_snapshots[{index}].", snapshot.get("misfits") or {})
        return made


def plain(value: Any) -> Any:
    """Return a scalar as a JSON value: times in UTC, a scenario as an object."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return attrs.asdict(value) if attrs.has(type(value)) else value


def _sent(fields: Fields, name: str) -> Raw | None:
    sent = json_of(fields, name)
    return None if sent is None else Raw(sent)


def _turns(call: CallExecution, fields: Fields, misfits: Misfits) -> list[Object] | None:
    found: Misfits = {}
    turns = turns_of(call, fields, found)
    try:
        made = None if turns is None else list(map(_turn, turns))
    except DecodingError:  # for the other keys of a turn
        made, found = None, {"transcript": fields[transcript_key(fields)]}
    misfits |= found
    return made


def _turn(turn: TranscriptTurn) -> Object:
    return {
        "role": turn.role,
        "content": turn.content,
        "start_seconds": turn.start_seconds,
        "end_seconds": turn.end_seconds,
        "extra": turn.extra,
    }


def _evaluations(call: CallExecution, fields: Fields, misfits: Misfits) -> dict[str, Object] | None:
    if json_of(fields, "eval_outputs") is None:
        return None
    outputs = evaluations_of(call, fields, misfits)
    if "eval_outputs" in misfits:
        return None
    return {key: {name: getattr(output, name) for name in _EVALUATION} for key, output in outputs.items()}


class LinesWriter:
    """Writes records to ``file`` as the server sent them, one per line."""

    misfits = 0
    """Always 0: records as sent have no columns."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, batch: Batch) -> None:
        """Append one line per record. Provider data stays if the records have it."""
        self._file.writelines(b"%b\n" % record for record in batch.raws)

    def close(self) -> None:
        """Do nothing: each record is written at once."""


class NormalisedWriter:
    """Writes calls to ``file`` with documented names and units, one per line."""

    misfits = 0
    """The number of calls with ``misfits``."""

    def __init__(
        self, file: BinaryIO, *, sources: Iterable[CallSource | None] = (), projection: Projection = WHOLE
    ) -> None:
        self._file = file
        source_columns = SourceColumns(sources)
        self._normaliser = Normaliser(source_columns, projection)
        self._fast = FastLines(self._normaliser.keys, source_columns, projection)
        self._row_schemas = RowSchemas(projection, as_sent=TRANSCRIPTS)

    def write(self, batch: Batch) -> None:
        """Append one line per call."""
        made: dict[int, bytes | None] = dict.fromkeys(range(len(batch.raws)))
        alike, _ = self._row_schemas.sort(batch.raws)
        for rows in alike:
            with suppress(SlowPathNeededError):
                made |= zip(rows.places, self._fast.lines(RowColumns(rows, batch)), strict=True)
        for place, line in made.items():
            self._file.write(b"%b\n" % (line or self._carefully(batch.restore(place))))

    def _carefully(self, call: CallExecution) -> bytes:
        line, has_misfits = self._normaliser.line(call)
        self.misfits += has_misfits
        return line

    def close(self) -> None:
        """Do nothing: each call is written at once."""
