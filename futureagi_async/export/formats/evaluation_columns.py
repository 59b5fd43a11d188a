"""Which evaluations the calls of an export have, and what their columns are called."""

from collections import Counter
from collections.abc import Mapping

import attrs

from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.details import evaluations_of, fields_of
from futureagi_async.models import CallExecution


@attrs.define(frozen=True)
class EvaluationColumn:
    """One evaluation's place among a table's columns."""

    id: str
    label: str
    """Its name; where several share one, with the id behind it."""


class EvaluationColumns:
    """Collects the evaluations of calls; in whatever order these come, the columns are the same."""

    def __init__(self) -> None:
        self._names: dict[str, str | None] = {}

    def note(self, call: CallExecution) -> None:
        """Remember the evaluations of a call."""
        try:
            outputs = evaluations_of(call, fields_of(call))
        except DecodingError:
            return  # they go to the column of misfits
        for key, output in outputs.items():
            name, known = output.name, self._names.setdefault(key, None)
            if name and (not known or name < known):
                self._names[key] = name

    def columns(self) -> tuple[EvaluationColumn, ...]:
        """Return the columns, by name, then id."""
        names = {key: name or key for key, name in self._names.items()}
        return tuple(EvaluationColumn(key, label) for key, label in _labels(names).items())


def _labels(names: Mapping[str, str]) -> dict[str, str]:
    """Return a label for each id, none given twice, whatever words names and ids are made of."""
    times = Counter(names.values())
    taken = {name for name, count in times.items() if count == 1}
    labels: dict[str, str] = {}
    for name, key in sorted((name, key) for key, name in names.items()):
        label = name
        while times[name] > 1 and (label == name or label in taken):
            label = f"{label} [{key}]"
        labels[key] = label
        taken.add(label)
    return labels
