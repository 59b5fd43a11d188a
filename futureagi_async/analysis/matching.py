"""Match two samples: their scenarios, evaluations, and calls of the same dataset row."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs
import numpy as np

from futureagi_async.analysis.bootstrap import Pairs
from futureagi_async.analysis.sample import MISSING, EvaluationSample, Sample, ScenarioKey
from futureagi_async.analysis.texts import slug

T = TypeVar("T")


@attrs.frozen
class MatchedEvaluation:
    """An evaluation that both samples have."""

    before_id: str
    after_id: str
    label: str
    address: str
    """The evaluation's part in the name of a figure: its name, or its id if the name is not unique."""


@attrs.frozen
class MatchedSamples:
    """Two samples, and what matches in them."""

    before: Sample
    after: Sample
    evaluations: Sequence[MatchedEvaluation]
    scenario_indexes: Mapping[int, int]
    """Scenario index in ``after`` to scenario index in ``before``."""
    unmatched: Sequence[str]

    @classmethod
    def match(cls, before: Sample, after: Sample) -> "MatchedSamples":
        """Match scenarios and evaluations by id, and the rest by name if it is unique in both samples."""
        scenarios, lone_scenarios = _match(
            {key.id or f"name {key.name}": key for key in before.scenarios},
            {key.id or f"name {key.name}": key for key in after.scenarios},
            lambda key: key.name,
        )
        evaluations, lone_evaluations = _match(before.evaluations, after.evaluations, lambda each: each.name)
        first, second = (
            {key.id or f"name {key.name}": place for place, key in enumerate(sample.scenarios)}
            for sample in (before, after)
        )
        return cls(
            before,
            after,
            list(_named(evaluations, after.evaluations)),
            {second[later]: first[earlier] for earlier, later in scenarios.items()},
            [
                *(f"Evaluation {words}" for words in lone_evaluations),
                *(f"Scenario {words}" for words in lone_scenarios),
            ],
        )

    def scenarios(self) -> Iterator[tuple[ScenarioKey, Sample, Sample]]:
        """Yield the calls of each scenario that both samples have, by name."""
        parts = {key: part for key, part in self.before.split() if key is not None}
        for key, part in self.after.split():
            place = MISSING if key is None else self.after.scenarios.index(key)
            if key is not None and place in self.scenario_indexes:
                earlier = parts.get(self.before.scenarios[self.scenario_indexes[place]])
                if earlier is not None:
                    yield key, earlier, part

    def pairs(self, before: Sample, after: Sample) -> Pairs:
        """Return pairs of calls with the same scenario and dataset row, if a row has one call in each run.

        Return no pairs if they cover less than half of the calls of the smaller run.
        """
        earlier = _unique(before, lambda place: place)
        later = _unique(after, lambda place: self.scenario_indexes.get(place, MISSING))
        both = [(earlier[key], row) for key, row in later.items() if key in earlier]
        if 2 * len(both) < max(2, min(len(before), len(after))):
            both = []
        rows = np.array(both, np.int64).reshape(-1, 2)
        return Pairs(rows[:, 0], rows[:, 1])


def _unique(sample: Sample, scenario: Callable[[int], int]) -> dict[Hashable, int]:
    """Return the calls that are alone in their scenario and dataset row."""
    keys = [
        None if row is None or (place := scenario(int(own))) == MISSING else (place, row)
        for own, row in zip(sample.scenario_indexes, sample.dataset_rows, strict=True)
    ]
    times = Counter(keys)
    return {key: row for row, key in enumerate(keys) if key is not None and times[key] == 1}


def _match(
    before: Mapping[str, T], after: Mapping[str, T], name: Callable[[T], str | None]
) -> tuple[dict[str, str], list[str]]:
    """Return ids that match, and a sentence for each name without a match."""
    found = {key: key for key in before if key in after}
    first = _by_name(before, found.keys(), name)
    second = _by_name(after, found.values(), name)
    words: list[str] = []
    for word in sorted(first.keys() | second.keys()):
        earlier, later = first.get(word, []), second.get(word, [])
        if len(earlier) == len(later) == 1:
            found[earlier[0]] = later[0]
        elif earlier and later:
            words.append(f"{word!r} has several ids, and the ids differ: not compared.")
        else:
            words.append(f"{word!r} is only in the {'earlier' if earlier else 'later'} calls.")
    return found, words


def _by_name(
    things: Mapping[str, T], taken: "Mapping[str, object] | object", name: Callable[[T], str | None]
) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for key, thing in things.items():
        if key not in taken:  # type: ignore[operator]
            named.setdefault(name(thing) or key, []).append(key)
    return named


def _named(
    ids: Mapping[str, str], evaluations: Mapping[str, EvaluationSample]
) -> Iterator[MatchedEvaluation]:
    labels = {key: each.name or key for key, each in evaluations.items()}
    times = Counter(map(slug, labels.values()))
    for earlier, later in sorted(ids.items(), key=lambda pair: (labels[pair[1]].casefold(), pair[1])):
        label = labels[later]
        if times[slug(label)] == 1:
            yield MatchedEvaluation(earlier, later, label, slug(label))
        else:
            yield MatchedEvaluation(earlier, later, f"{label} [{later}]", slug(later))
