"""From the columns of calls to a `Summary`."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from futureagi_async.analysis.measures import MEASURES
from futureagi_async.analysis.sample import (
    NOTHING,
    Collector,
    Doubles,
    EvaluationSample,
    Sample,
    State,
    Words,
    as_figure,
)
from futureagi_async.analysis.texts import counted
from futureagi_async.analysis.values import (
    Counts,
    EvaluationSummary,
    MeasureSummary,
    ReadVerdict,
    ScenarioSummary,
    Share,
    Summary,
)


def make_summary(collector: Collector, label: str, verdict: ReadVerdict) -> Summary:
    """Return the summary of what was collected."""
    sample = collector.finish()
    if collector.unreadable_evaluations:
        reason = f"The evaluations of {counted(collector.unreadable_evaluations, 'call')} can't be read."
        verdict = ReadVerdict("incomplete", (*verdict.reasons, reason))
    return Summary(
        label=label,
        verdict=verdict,
        snapshots=collector.snapshots,
        duplicates=collector.duplicates,
        days=dict(sorted(collector.days.items())),
        scenarios=tuple(
            ScenarioSummary(
                id=None if scenario is None else scenario.id,
                name=None if scenario is None else scenario.name,
                **_figures(part),
            )
            for scenario, part in sample.split()
        ),
        sample=sample,
        **_figures(sample),
    )


def _figures(sample: Sample) -> dict[str, Any]:
    """Return the fields of `CallFigures`."""
    evaluations = [_evaluation(found) for found in sample.evaluations.values()]
    evaluations.sort(key=lambda found: (found.label.casefold(), found.id))
    nothing = np.empty(0)
    return {
        "calls": len(sample),
        "counts": {field: _counts(words) for field, words in sample.words.items()},
        "measures": {
            name: summarise_values(name, unit, sample.measures.get(name, nothing), len(sample))
            for name, unit in MEASURES.items()
        },
        "evaluations": {found.id: found for found in evaluations},
    }


def _counts(words: Words) -> Counts:
    numbers = np.bincount(words.places + 1, minlength=len(words.known) + 2)  # the first are those of none
    counted = Counter(dict(zip(words.known, map(int, numbers[1:-1]), strict=True)))
    missing, other = int(numbers[NOTHING + 1]), int(numbers[-1])
    most = {word: count for word, count in counted.most_common() if count}
    return Counts(n=len(words.places) - missing, missing=missing, words=most, other=other)


def summarise_values(name: str, unit: str, values: Doubles, asked: int) -> MeasureSummary:
    """Return the figures of values, of which NaN are none."""
    there = values[~np.isnan(values)]
    mean = median = p5 = p95 = None
    if len(there):
        ordered = np.sort(there)  # so that the sum does not depend on the order in which pages came
        with np.errstate(over="ignore", invalid="ignore"):  # of numbers near the end of the doubles
            mean = as_figure(np.mean(ordered))
            p5, median, p95 = map(as_figure, np.quantile(ordered, (0.05, 0.5, 0.95)))
    return MeasureSummary(
        name=name,
        unit=unit,
        n=len(there),
        missing=asked - len(there),
        mean=mean,
        median=median,
        p5=p5,
        p95=p95,
        values=there,
    )


def _evaluation(sample: EvaluationSample) -> EvaluationSummary:
    numbers = np.bincount(sample.states, minlength=len(State))
    count: Mapping[State, int] = {state: int(numbers[state]) for state in State}
    results = count[State.PASSED] + count[State.NOT_PASSED]
    scored = sample.scores[sample.states == State.SCORED]
    chosen = {word: Share(len(rows), count[State.CHOSEN]) for word, rows in sample.choices.items()}
    return EvaluationSummary(
        id=sample.id,
        name=sample.name,
        type=sample.type,
        n=results + count[State.SCORED] + count[State.CHOSEN],
        pending=count[State.PENDING],
        skipped=count[State.SKIPPED],
        failed=count[State.FAILED],
        unreadable=count[State.UNREADABLE],
        passed=Share(count[State.PASSED], results) if results else None,
        scores=summarise_values("score", "", scored, len(sample.rows)) if len(scored) else None,
        choices=dict(sorted(chosen.items(), key=lambda pair: (-pair[1].count, pair[0]))),
    )
