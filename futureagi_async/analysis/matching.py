"""What belongs together in two samples: scenarios, evaluations, and calls of the same dataset row."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs
import numpy as np

from futureagi_async.analysis.bootstrap import Pairs
from futureagi_async.analysis.sample import NOTHING, EvaluationSample, Sample, ScenarioKey
from futureagi_async.analysis.texts import slug

T = TypeVar("T")


@attrs.frozen
class MatchedEvaluation:
    """An evaluation that both have."""

    before_id: str
    after_id: str
    label: str
    address: str
    """Its part of a figure's address: the name, or the id where several have that name."""


@attrs.frozen
class Matched:
    """What belongs together in two samples."""

    before: Sample
    after: Sample
    evaluations: Sequence[MatchedEvaluation]
    scenario_places: Mapping[int, int]
    """Of a scenario's place in ``after``: that in ``before``."""
    unmatched: Sequence[str]

    @classmethod
    def of(cls, before: Sample, after: Sample) -> "Matched":
        """Match by id, and what is left by a name that stands once on either side."""
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
        """Yield the calls of each scenario that both have, in the order of their names."""
        parts = {key: part for key, part in self.before.split() if key is not None}
        for key, part in self.after.split():
            place = NOTHING if key is None else self.after.scenarios.index(key)
            if key is not None and place in self.scenario_places:
                earlier = parts.get(self.before.scenarios[self.scenario_places[place]])
                if earlier is not None:
                    yield key, earlier, part

    def pairs(self, before: Sample, after: Sample) -> Pairs:
        """Return which calls are of the same scenario and dataset row, where a row has one call a run.

        None where that is less than half of the calls: the others could not be told from chance.
        """
        earlier = _unique(before, lambda place: place)
        later = _unique(after, lambda place: self.scenario_places.get(place, NOTHING))
        both = [(earlier[key], row) for key, row in later.items() if key in earlier]
        if 2 * len(both) < max(2, min(len(before), len(after))):
            both = []
        rows = np.array(both, np.int64).reshape(-1, 2)
        return Pairs(rows[:, 0], rows[:, 1])


def _unique(sample: Sample, scenario: Callable[[int], int]) -> dict[Hashable, int]:
    """Return the calls whose scenario and dataset row no other call has."""
    keys = [
        None if row is None or (place := scenario(int(own))) == NOTHING else (place, row)
        for own, row in zip(sample.scenario_places, sample.dataset_rows, strict=True)
    ]
    times = Counter(keys)
    return {key: row for row, key in enumerate(keys) if key is not None and times[key] == 1}


def _match(
    before: Mapping[str, T], after: Mapping[str, T], name: Callable[[T], str | None]
) -> tuple[dict[str, str], list[str]]:
    """Return ids that belong together, and what is left, in words."""
    found = {key: key for key in before if key in after}
    first = _by_name(before, found.keys(), name)
    second = _by_name(after, found.values(), name)
    words: list[str] = []
    for word in sorted(first.keys() | second.keys()):
        earlier, later = first.get(word, []), second.get(word, [])
        if len(earlier) == len(later) == 1:
            found[earlier[0]] = later[0]
        elif earlier and later:
            words.append(f"{word!r} stands for several, with other ids: they are not compared.")
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
