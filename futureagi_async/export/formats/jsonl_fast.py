"""The fast path to normalised JSON Lines: makes the values of rows of one schema column by column."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, chain, pairwise, repeat
from typing import Any, Final, TypeAlias

import attrs
import msgspec
from msgspec import UNSET, Raw, Struct
from msgspec.structs import astuple

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, Fields
from futureagi_async._sansio.decoding.wire import (
    TIMES,
    EvalEntry,
    EvalWire,
    ScenarioWire,
    TurnWire,
    is_pending,
    is_skipped,
)
from futureagi_async.export.formats.projection import Projection
from futureagi_async.export.formats.records import NULL
from futureagi_async.export.formats.row_schemas import RowColumns, in_utc
from futureagi_async.export.formats.schema import SourceColumns
from futureagi_async.models import EvalOutput
from futureagi_async.sources import CallSource

Column: TypeAlias = Sequence[Any]
Maker: TypeAlias = Callable[..., Struct]

TRANSCRIPTS: Final = ("transcript", "transcripts")
"""Keys that are decoded here, because a line has all keys of a turn."""

_NO_SNAPSHOTS: Final = (b"null", b"[]")
_SCHEMAS: Final = 64  # schemas of turns; a list has one or two

_encode = msgspec.json.Encoder().encode
_decode_list_of_fields = msgspec.json.Decoder(list[Fields] | None).decode


def _object(name: str, types: dict[str, Any], **options: Any) -> type[Struct]:
    """Return a struct with these keys, which need not be identifiers. Its keys are encoded once."""
    names = [f"value_{place}" for place in range(len(types))]
    fields = list(zip(names, types.values(), strict=True))
    return msgspec.defstruct(name, fields, rename=dict(zip(names, types, strict=True)), gc=False, **options)


def _maker(name: str, keys: Sequence[str]) -> Maker:
    return _object(name, dict.fromkeys(keys, Any))


_make_evaluation: Final = _maker("Evaluation", [field.name for field in attrs.fields(EvalOutput)])
_make_turn: Final = _maker("Turn", ("role", "content", "start_seconds", "end_seconds", "extra"))


class FastLines:
    """Makes lines with these keys, in this order.

    A struct is encoded in a fifth of the time of a dict, and its values are made column by column.
    """

    def __init__(self, keys: Sequence[str], source_columns: SourceColumns, projection: Projection) -> None:
        self._keys = keys
        self._source_columns = source_columns
        self._kept = projection.calls
        self._make_line = _maker("Line", keys)

    def lines(self, columns: RowColumns) -> list[bytes | None]:
        """Return a line for each row, ``None`` if it needs the slow path; or raise `SlowPathNeededError`."""
        careful = _with_snapshots(columns)
        made: dict[str, Column] = {"id": columns.sent["id"]}
        made |= {name: in_utc(each) if name in TIMES else each for name, each in columns.plain().items()}
        made["is_snapshot"] = [columns.are_snapshots] * len(columns.nothing)
        made["scenario_id"] = columns.sent.get("scenario_id", columns.nothing)
        made |= columns.json_parts()
        makers: dict[str, Callable[[], Column]] = {
            "source": lambda: self._sources(columns.sources),
            "scenario": lambda: self._scenarios(columns),
            "transcript": lambda: _transcripts(columns, careful),
            "eval_outputs": lambda: _evaluations(columns),
            "extra": lambda: list(map(Raw, columns.extras())),
        }
        made |= {name: make() for name, make in makers.items() if name in self._keys}
        lines = map(self._make_line, *(made.get(key, columns.nothing) for key in self._keys))
        return [None if row in careful else _encode(line) for row, line in enumerate(lines)]

    def _sources(self, sources: Sequence[CallSource | None]) -> list[Raw]:
        known = {id(source): source for source in sources}  # usually there is only one
        encoded = {key: Raw(_encode(self._source(source))) for key, source in known.items()}
        return [encoded[id(source)] for source in sources]

    def _source(self, source: CallSource | None) -> dict[str, int | str] | None:
        named = self._source_columns.named(source) or {}
        return {name: each for name, each in named.items() if f"source_{name}" in self._kept} or None

    def _scenarios(self, columns: RowColumns) -> Column:
        sent = columns.sent.get(columns.schema.scenario, columns.nothing)
        ids = columns.sent.get("scenario_id", columns.nothing)
        return [self._scenario(scenario, outer) for scenario, outer in zip(sent, ids, strict=True)]

    def _scenario(self, scenario: str | ScenarioWire | None, outer: str | None) -> dict[str, Any] | None:
        if scenario is None:
            return None
        if isinstance(scenario, str):
            made = {"id": outer, "name": scenario}
        else:
            made = {"id": scenario.id or outer, "name": scenario.name}
        return {name: each for name, each in made.items() if f"scenario_{name}" in self._kept}


def _with_snapshots(columns: RowColumns) -> set[int]:
    """Return the rows with snapshots, which are also calls."""
    sent = columns.sent.get("rerun_snapshots", ())
    return {row for row, snapshots in enumerate(sent) if bytes(snapshots) not in _NO_SNAPSHOTS}


def _evaluations(columns: RowColumns) -> Column:
    sent = columns.sent.get("eval_outputs", columns.nothing)
    return [
        None if of is None or of == NULL else {key: _evaluation(key, entry) for key, entry in found.items()}
        for of, found in zip(sent, columns.evaluations(), strict=True)
    ]


def _evaluation(key: str, entry: EvalEntry) -> Struct:
    """Return an evaluation, by the same rules as ``structure_evals`` of the decoder."""
    if type(entry) is not EvalWire:
        return _make_evaluation(key, None, entry, None, None, None, False, False, False)
    value: Any = entry.output if entry.value is UNSET else entry.value
    kind = entry.output_type if entry.type is UNSET else entry.type
    status = entry.status
    return _make_evaluation(
        key,
        entry.name,
        None if value is UNSET else value,
        None if kind is UNSET else kind,
        entry.reason,
        status,
        None if entry.error is UNSET else entry.error or False,
        is_skipped(entry.skipped, status),
        is_pending(value, status),
    )


def _transcripts(columns: RowColumns, careful: set[int]) -> Column:
    """Return the transcripts, and collect the rows whose turns have other keys than the first turn."""
    sent = columns.sent.get(columns.schema.transcript, columns.nothing)
    turns_schema = _turns_schema(_keys_of_a_turn(sent))
    found: list[list[Struct] | None] = []
    for row, transcript in enumerate(sent):
        try:
            found.append(None if transcript is None else turns_schema.decode(transcript))
        except JSON_ERRORS:
            careful.add(row)
            found.append(None)
        if found[-1] == [] and columns.is_withheld(row):
            found[-1] = None
    made = turns_schema.make(list(chain.from_iterable(filter(None, found))))
    ends = accumulate((len(turns or ()) for turns in found), initial=0)
    slices = [made[begin:end] for begin, end in pairwise(ends)]
    return [None if turns is None else some for turns, some in zip(found, slices, strict=True)]


def _keys_of_a_turn(sent: Column) -> tuple[str, ...]:
    for transcript in sent:
        try:
            if transcript is not None and (turns := _decode_list_of_fields(transcript)):
                return tuple(turns[0])
        except JSON_ERRORS:
            continue
    return ()


@lru_cache(maxsize=_SCHEMAS)
def _turns_schema(keys: tuple[str, ...]) -> "TurnsSchema":
    try:
        return TurnsSchema(keys)
    except ValueError:  # a key that a struct can't have, such as one with a quote
        return TurnsSchema(())


_TURN_TYPES: Final = {field.name: field.type for field in msgspec.structs.fields(TurnWire)}


class TurnsSchema:
    """Decodes and encodes turns with the same keys."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = keys
        self._said = "messages" if "messages" in keys else "content"
        self._role = "role" if "role" in keys else "speaker_role"
        self._start, self._end = (
            f"{edge}_time_seconds" if f"{edge}_time_seconds" in keys else f"{edge}_time_ms"
            for edge in ("start", "end")
        )
        filled = {self._said, self._role, self._start, self._end}
        self._extra = [key for key in keys if key not in filled]
        self._make_extra = _maker("Extra", self._extra)
        types = {key: _TURN_TYPES.get(key, Any) for key in keys}
        if "content" in keys:  # beside messages it is extra; a list without messages needs the slow path
            types["content"] = str | list[Any] | None if "messages" in keys else str | None
        turn = _object("SentTurn", types, forbid_unknown_fields=True)
        self.decode: Callable[[Raw], list[Struct] | None] = msgspec.json.Decoder(list[turn] | None).decode  # type: ignore[valid-type]
        """Decodes a transcript whose turns have exactly these keys, or raises one of `JSON_ERRORS`."""

    def make(self, turns: Sequence[Struct]) -> list[Struct]:
        """Return turns with documented names and units, by the same rules as ``structure_turns``."""
        columns = zip(*map(astuple, turns), strict=True)
        sent: dict[str, Column] = dict(zip(self._keys, columns, strict=False))  # no keys without a turn
        nothing = (None,) * len(turns)
        said = sent.get(self._said, nothing)
        if self._said == "messages":
            texts: Column = list(map("\n".join, said))
        else:
            texts = ["" if text is None else text for text in said]
        roles = sent.get(self._role, nothing)
        if self._role == "speaker_role":
            roles = [role or None for role in roles]
        starts, ends = sent.get(self._start, nothing), sent.get(self._end, nothing)
        if self._start == "start_time_ms":
            starts = [None if ms is None else ms / 1000 for ms in starts]
        if self._end == "end_time_ms":
            ends = [ms / 1000 if ms else None for ms in ends]
        extras: Iterable[Struct] = (
            map(self._make_extra, *(sent.get(key, nothing) for key in self._extra))
            if self._extra
            else repeat(self._make_extra())
        )
        return list(map(_make_turn, roles, texts, starts, ends, extras))
