"""The columns of all exported tables, including the columns that name the source of a call."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, TypeAlias

import attrs

from futureagi_async.models import CallExecution, Scenario
from futureagi_async.sources import CallSource

Kind: TypeAlias = Literal["text", "whole", "number", "flag", "time", "json", "turns"]
"""``whole`` is a count, ``number`` is a double, ``json`` is JSON text."""

_JSON: Final[Kind] = "json"

SOURCE: Final[Mapping[str, Kind]] = {
    "source_index": "whole",
    "source_kind": "text",
    "source_run_test_id": "text",
    "source_agent_id": "text",
    "source_version_id": "text",
    "source_test_execution_id": "text",
}
"""The columns that name the source of a call. `SourceColumns` fills them."""

JSON_PARTS: Final = (
    "eval_outputs",
    "eval_metrics",
    "scenario_columns",
    "recordings",
    "tool_outputs",
    "rerun_snapshots",
)
"""Nested parts that a table has as JSON text."""

MODEL_FIELDS: Final = [field for field in attrs.fields(CallExecution) if field.eq]
"""The fields of the model, except those about the record itself."""

_KINDS: Final[dict[object, Kind]] = {
    str: "text",
    str | None: "text",
    float | None: "number",
    bool | None: "flag",
    datetime | None: "time",
    Scenario | None: "text",
}


def _scalars() -> dict[str, Kind]:
    fields = [field for field in MODEL_FIELDS if field.type in _KINDS]
    return {
        "scenario_name" if field.type == Scenario | None else field.name: _KINDS[field.type]
        for field in fields
    }


SCALARS: Final[Mapping[str, Kind]] = _scalars()
"""The plain fields of the model with their own names, except the name of the scenario."""

PLAIN: Final[Mapping[str, Kind]] = {
    name: kind for name, kind in SCALARS.items() if name not in ("scenario_name", "scenario_id")
}
"""The plain columns that a record sends unchanged."""

CALLS: Final[Mapping[str, Kind]] = {
    "id": "text",
    **SOURCE,
    **SCALARS,
    "transcript": "turns",
    **dict.fromkeys((*JSON_PARTS, "extra", "misfits"), _JSON),
}
"""The table of calls. Its last column has the values as sent that the others can't hold, by name or path."""

TURN: Final[Mapping[str, Kind]] = {
    "role": "text",
    "content": "text",
    "start_seconds": "number",
    "end_seconds": "number",
}
"""The columns of a turn in a transcript."""

EVALUATIONS: Final[Mapping[str, Kind]] = {
    "call_id": "text",
    **SOURCE,
    "evaluation_id": "text",
    "name": "text",
    "type": "text",
    "value": "json",
    "value_number": "number",
    "value_text": "text",
    "reason": "text",
    "status": "text",
    "error": "flag",
    "error_text": "text",
    "skipped": "flag",
    "pending": "flag",
}
"""The long table of evaluations: one row for each evaluation of each call."""


SourceRow: TypeAlias = tuple[int | str | None, ...]
"""The values of the columns `SOURCE`."""

_NO_SOURCE: SourceRow = (None,) * len(SOURCE)


class SourceColumns:
    """Returns the place of a source in an export, and its ids."""

    def __init__(self, sources: Iterable[CallSource | None]) -> None:
        self._sources = list(sources)
        self._known = {id(source): self._describe(source) for source in self._sources}

    def of(self, source: CallSource | None) -> SourceRow:
        """Return the values of the columns `SOURCE`."""
        return self._known.get(id(source)) or self._describe(source)

    def of_all(self, sources: Sequence[CallSource | None]) -> list[SourceRow]:
        """Return the same for many sources; usually there is only one."""
        if sources.count(sources[0]) == len(sources):
            return [self.of(sources[0])] * len(sources)
        return list(map(self.of, sources))

    def named(self, source: CallSource | None) -> dict[str, int | str] | None:
        """Return the values with short names and without nulls; ``None`` for no source."""
        values = zip(SOURCE, self.of(source), strict=True)
        named = {name.removeprefix("source_"): value for name, value in values if value is not None}
        return named or None

    def _describe(self, source: CallSource | None) -> SourceRow:
        if source is None:
            return _NO_SOURCE
        index = self._sources.index(source) if source in self._sources else None
        values = {"index": index, "kind": source.kind, **source.ids}
        return tuple(values.get(name.removeprefix("source_")) for name in SOURCE)
