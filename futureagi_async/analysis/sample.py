"""The values of some calls in columns: what summaries and comparisons are made of."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from enum import IntEnum
from typing import Any, Final, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from futureagi_async.analysis.measures import COUNTED, MEASURES
from futureagi_async.models import EvalOutput

Doubles: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]
Objects: TypeAlias = NDArray[np.object_]

NOTHING: Final = -1
"""The place of what a call does not have."""
_MOST_WORDS: Final = 1_000  # different ones that are told apart in a field: texts written by models don't end
_LONGEST_WORD: Final = 200


def as_figure(value: "float | np.floating[Any]") -> float | None:
    """Return a figure that was reckoned; ``None`` where it is beyond all doubles."""
    return float(value) if np.isfinite(value) else None


class State(IntEnum):
    """What came of an evaluation of one call."""

    PENDING = 0
    SKIPPED = 1
    FAILED = 2
    UNREADABLE = 3
    PASSED = 4
    NOT_PASSED = 5
    SCORED = 6
    CHOSEN = 7


@attrs.frozen
class Rows:
    """Some calls as they are read, a value a call in each column."""

    ids: Sequence[str]
    snapshots: Sequence[bool | None]
    words: Mapping[str, Sequence[str | None]]
    """By field of `COUNTED`."""
    scenario_ids: Sequence[str | None]
    scenario_names: Sequence[str | None]
    days: Sequence[date | None]
    dataset_rows: Sequence[bytes | None]
    """Equal for calls of the same row of a scenario's dataset."""
    measures: Doubles
    """A column for each of `MEASURES`; NaN where a call has none."""
    evaluations: Sequence[Mapping[str, EvalOutput] | None]
    """``None`` where they can't be read."""


@attrs.define(eq=False)
class Words:
    """The words of a field: each once, and for each call which."""

    known: list[str]
    places: Places
    """Of each call; `NOTHING` for none, ``len(known)`` for one too many."""


@attrs.define(eq=False)
class EvaluationSample:
    """One evaluation's results, of the calls that have it."""

    id: str
    name: str | None
    type: str | None
    rows: Places
    states: NDArray[np.int8]
    scores: Doubles
    """NaN where it gave none."""
    choices: dict[str, Places]
    """By choice: places in ``rows``."""


@attrs.frozen
class ScenarioKey:
    """A scenario; a list may deliver only one of the two."""

    id: str | None
    name: str | None


@attrs.define(eq=False, repr=False)
class Sample:
    """Some calls in columns."""

    ids: Objects
    words: Mapping[str, Words]
    scenarios: Sequence[ScenarioKey]
    scenario_places: Places
    dataset_rows: Objects
    measures: Mapping[str, Doubles]
    """By name, a value a call, NaN for none; without those that no call has."""
    evaluations: Mapping[str, EvaluationSample]

    def __len__(self) -> int:
        return len(self.ids)

    def split(self) -> "Iterator[tuple[ScenarioKey | None, Sample]]":
        """Yield the calls of each scenario, those without one at the end."""
        order = np.argsort(self.scenario_places, kind="stable")
        places = np.empty(len(self), np.int64)
        evaluations = {
            key: np.argsort(self.scenario_places[found.rows], kind="stable")
            for key, found in self.evaluations.items()
        }
        for place in (*range(len(self.scenarios)), NOTHING):
            rows = _run(order, self.scenario_places[order], place)
            if not len(rows):
                continue
            places[rows] = np.arange(len(rows))
            found = {
                key: _part(
                    evaluation,
                    _run(evaluations[key], self.scenario_places[evaluation.rows[evaluations[key]]], place),
                    places,
                )
                for key, evaluation in self.evaluations.items()
            }
            yield (
                None if place == NOTHING else self.scenarios[place],
                Sample(
                    ids=self.ids[rows],
                    words={field: Words(each.known, each.places[rows]) for field, each in self.words.items()},
                    scenarios=self.scenarios,
                    scenario_places=self.scenario_places[rows],
                    dataset_rows=self.dataset_rows[rows],
                    measures={name: values[rows] for name, values in self.measures.items()},
                    evaluations={key: each for key, each in found.items() if len(each.rows)},
                ),
            )

    def scenario_label(self, row: int) -> str | None:
        """Return the name of a call's scenario, else its id."""
        place = int(self.scenario_places[row])
        return None if place == NOTHING else self.scenarios[place].name or self.scenarios[place].id

    def lowest(self, name: str, count: int) -> list[int]:
        """Return the calls with the lowest values of a measure, the lowest first."""
        values = self.measures.get(name)
        if values is None:
            return []
        order = np.argsort(values, kind="stable")  # NaN at the end
        return [int(row) for row in order[: min(count, np.count_nonzero(~np.isnan(values)))]]


def _run(order: Places, sorted_places: Places, place: int) -> Places:
    """Return what of an order has one place."""
    first, behind = np.searchsorted(sorted_places, [place, place + 1])
    return order[first:behind]


def _part(evaluation: EvaluationSample, chosen: Places, places: Places) -> EvaluationSample:
    """Return an evaluation of some calls; ``places`` are those that the calls have there."""
    among = np.full(len(evaluation.rows), NOTHING, np.int64)
    among[chosen] = np.arange(len(chosen))
    choices = {word: among[rows][among[rows] != NOTHING] for word, rows in evaluation.choices.items()}
    return EvaluationSample(
        evaluation.id,
        evaluation.name,
        evaluation.type,
        places[evaluation.rows[chosen]],
        evaluation.states[chosen],
        evaluation.scores[chosen],
        {word: rows for word, rows in choices.items() if len(rows)},
    )


class _WordsInTheMaking:
    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._places = array("q")

    def add(self, word: str | None) -> None:
        if word is None:
            self._places.append(NOTHING)
            return
        if len(word) > _LONGEST_WORD:
            word = word[: _LONGEST_WORD - 1] + "…"
        place = self._known.get(word)
        if place is None:
            place = min(len(self._known), _MOST_WORDS)
            if place < _MOST_WORDS:
                self._known[word] = place
        self._places.append(place)

    def finish(self) -> Words:
        places = np.array(self._places, np.int64)
        places[places == _MOST_WORDS] = len(self._known)
        return Words(list(self._known), places)


class _EvaluationInTheMaking:
    def __init__(self, key: str) -> None:
        self.id = key
        self.name: str | None = None
        self.type: str | None = None
        self._rows = array("q")
        self._states = array("b")
        self._scores = array("d")
        self._choices: dict[str, array[int]] = {}

    def add(self, row: int, output: EvalOutput) -> None:
        self.name = self.name or output.name
        self.type = self.type or output.type
        state, score, choices = result_of(output)
        if state is State.CHOSEN and not self._choose(choices):
            state = State.UNREADABLE
        self._rows.append(row)
        self._states.append(state)
        self._scores.append(score)

    def _choose(self, choices: Sequence[str]) -> bool:
        """Note what was chosen, unless that are too many different words to be choices."""
        words = {word if len(word) <= _LONGEST_WORD else word[: _LONGEST_WORD - 1] + "…" for word in choices}
        if len(self._choices.keys() | words) > _MOST_WORDS:
            return False
        for word in words:
            self._choices.setdefault(word, array("q")).append(len(self._rows))
        return True

    def finish(self) -> EvaluationSample:
        return EvaluationSample(
            self.id,
            self.name,
            self.type,
            np.array(self._rows, np.int64),
            np.array(self._states, np.int8),
            np.array(self._scores, np.float64),
            {word: np.array(rows, np.int64) for word, rows in self._choices.items()},
        )


_PASSES: Final[Mapping[object, State]] = {
    word: state
    for state, words in {
        State.PASSED: ("passed", "pass", "true", "yes"),
        State.NOT_PASSED: ("failed", "fail", "false", "no"),
    }.items()
    for word in words
}
_NO_SCORE: Final = float("nan")
Result: TypeAlias = tuple[State, float, Sequence[str]]


def result_of(output: EvalOutput) -> Result:
    """Return what came of an evaluation, its score or NaN, and what was chosen."""
    status = (output.status or "").casefold()
    if output.pending:
        return State.PENDING, _NO_SCORE, ()
    if output.skipped or status == "skipped":
        return State.SKIPPED, _NO_SCORE, ()
    if output.error or status in ("failed", "error"):
        return State.FAILED, _NO_SCORE, ()
    kind = "".join(filter(str.isalnum, (output.type or "").casefold()))
    value = output.value
    if kind == "passfail" or isinstance(value, bool):
        return _pass_or_not(value), _NO_SCORE, ()
    if kind.startswith("choice"):
        return (State.CHOSEN if output.choices else State.UNREADABLE), _NO_SCORE, output.choices
    if isinstance(value, dict) and "score" in value:
        value = value["score"]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _scored(value)
    if kind == "score":
        return State.UNREADABLE, _NO_SCORE, ()
    if isinstance(value, str) and value.casefold() in _PASSES:
        return _PASSES[value.casefold()], _NO_SCORE, ()
    if kind and output.choices:  # of a type invented since
        return State.CHOSEN, _NO_SCORE, output.choices
    return State.UNREADABLE, _NO_SCORE, ()


def _pass_or_not(value: Any) -> State:
    if isinstance(value, str):
        return _PASSES.get(value.strip().casefold(), State.UNREADABLE)
    if isinstance(value, bool | int | float) and value in (0, 1):
        return State.PASSED if value else State.NOT_PASSED
    return State.UNREADABLE


def _scored(value: float) -> Result:
    try:
        return State.SCORED, float(value), ()
    except OverflowError:  # beyond all doubles
        return State.UNREADABLE, _NO_SCORE, ()


class Collector:
    """Takes rows, and makes a `Sample` of those that are no snapshots and did not come before."""

    def __init__(self) -> None:
        self.snapshots = 0
        self.duplicates = 0
        self.unreadable_evaluations = 0
        self.days: dict[date, dict[str, int]] = {}
        self._ids: dict[str, None] = {}
        self._words = {field: _WordsInTheMaking() for field in COUNTED}
        self._scenarios: dict[ScenarioKey, int] = {}
        self._scenario_places = array("q")
        self._dataset_rows: list[bytes | None] = []
        self._measures: list[Doubles] = []
        self._evaluations: dict[str, _EvaluationInTheMaking] = {}

    def add(self, rows: Rows) -> None:
        """Take some rows."""
        kept = [place for place in range(len(rows.ids)) if self._is_new(rows, place)]
        if not kept:
            return
        first = len(self._dataset_rows)
        self._measures.append(rows.measures if len(kept) == len(rows.ids) else rows.measures[kept])
        for field, words in self._words.items():
            column = rows.words[field]
            for place in kept:
                words.add(column[place])
        for row, place in enumerate(kept, first):
            self._place(rows.scenario_ids[place], rows.scenario_names[place])
            self._dataset_rows.append(rows.dataset_rows[place])
            self._count_day(rows.days[place], rows.words["status"][place])
            self._evaluate(row, rows.evaluations[place])

    def _is_new(self, rows: Rows, place: int) -> bool:
        if rows.snapshots[place]:
            self.snapshots += 1
            return False
        if rows.ids[place] in self._ids:
            self.duplicates += 1
            return False
        self._ids[rows.ids[place]] = None
        return True

    def _place(self, id_: str | None, name: str | None) -> None:
        if id_ is None and name is None:
            self._scenario_places.append(NOTHING)
            return
        key = ScenarioKey(id_, name)
        self._scenario_places.append(self._scenarios.setdefault(key, len(self._scenarios)))

    def _count_day(self, day: date | None, status: str | None) -> None:
        if day is not None:
            words = self.days.setdefault(day, {})
            word = (status or "unknown")[:_LONGEST_WORD]
            words[word] = words.get(word, 0) + 1

    def _evaluate(self, row: int, outputs: Mapping[str, EvalOutput] | None) -> None:
        if outputs is None:
            self.unreadable_evaluations += 1
            return
        for key, output in outputs.items():
            evaluation = self._evaluations.get(key)
            if evaluation is None:
                evaluation = self._evaluations[key] = _EvaluationInTheMaking(key)
            evaluation.add(row, output)

    def finish(self) -> Sample:
        """Return what was taken; nothing may be added afterwards."""
        table = np.concatenate(self._measures) if self._measures else np.empty((0, len(MEASURES)))
        self._measures.clear()
        measures = {name: np.ascontiguousarray(table[:, place]) for place, name in enumerate(MEASURES)}
        scenarios, places = _merge_scenarios(list(self._scenarios), np.array(self._scenario_places, np.int64))
        return Sample(
            ids=_objects(list(self._ids)),
            words={field: words.finish() for field, words in self._words.items()},
            scenarios=scenarios,
            scenario_places=places,
            dataset_rows=_objects(self._dataset_rows),
            measures={name: values for name, values in measures.items() if not np.isnan(values).all()},
            evaluations={key: found.finish() for key, found in self._evaluations.items()},
        )


def _objects(values: Sequence[object]) -> Objects:
    made = np.empty(len(values), object)
    made[:] = values
    return made


def _merge_scenarios(keys: Sequence[ScenarioKey], places: Places) -> tuple[list[ScenarioKey], Places]:
    """Return scenarios by id, in the order of their names; a name without an id goes to its only id."""
    names: dict[str, str | None] = {}
    ids_of: dict[str, set[str]] = {}
    for key in keys:
        if key.id is not None:
            names[key.id] = names.get(key.id) or key.name
            if key.name is not None:
                ids_of.setdefault(key.name, set()).add(key.id)
    final: list[ScenarioKey] = []
    for key in keys:
        id_ = key.id
        if id_ is None and len(found := ids_of.get(key.name or "", set())) == 1:
            (id_,) = found
        final.append(ScenarioKey(id_, names.get(id_) if id_ is not None else key.name))
    order = sorted(set(final), key=lambda key: (key.name or "\uffff", key.id or ""))
    numbers = {key: number for number, key in enumerate(order)}
    moved = np.array([*(numbers[key] for key in final), NOTHING], np.int64)
    return order, moved[places]
