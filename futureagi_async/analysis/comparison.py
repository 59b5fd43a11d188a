"""From two summaries to a `Comparison`."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, Literal

import attrs
import numpy as np

from futureagi_async.analysis.bootstrap import (
    Draws,
    Estimate,
    Pairs,
    draw_differences,
    estimate_mean,
    estimate_median,
)
from futureagi_async.analysis.intervals import adjust, compare_shares
from futureagi_async.analysis.matching import Matched, MatchedEvaluation
from futureagi_async.analysis.measures import MEASURES
from futureagi_async.analysis.sample import (
    Doubles,
    EvaluationSample,
    Places,
    Sample,
    State,
    as_figure,
)
from futureagi_async.analysis.values import (
    CallToLookAt,
    Comparison,
    Difference,
    ScenarioComparison,
    Share,
    Summary,
)

_FALSE_DISCOVERIES: Final = 0.05
_LOWEST: Final = 10
_MOST_NEWLY_FAILING: Final = 100


@np.errstate(over="ignore", invalid="ignore")  # of numbers near the end of the doubles
def make_comparison(before: Summary, after: Summary, *, seed: int, resamples: int) -> Comparison:
    """Return what differs."""
    matched = Matched.of(before.sample, after.sample)
    work = _Work(matched, seed, resamples)
    pairs = matched.pairs(before.sample, after.sample)
    overall = _corrected(work.differences(before.sample, after.sample))
    parts = list(matched.scenarios())
    found = [work.differences(earlier, later) for _, earlier, later in parts]
    corrected = iter(_corrected(list(chain.from_iterable(found))))
    return Comparison(
        before=before,
        after=after,
        differences=tuple(overall),
        scenarios=tuple(
            ScenarioComparison(
                id=key.id,
                name=key.name,
                calls_before=len(earlier),
                calls_after=len(later),
                differences=tuple(next(corrected) for _ in differences),
            )
            for (key, earlier, later), differences in zip(parts, found, strict=True)
        ),
        calls_to_look_at=(
            *_newly_failing(matched, pairs),
            *after.low_scores(_LOWEST),
        ),
        pairs=len(pairs),
        unmatched=tuple(matched.unmatched),
    )


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    """Return a family of differences, with what is beyond chance."""
    tested = [place for place, each in enumerate(differences) if each.p_value is not None]
    adjusted = adjust([differences[place].p_value or 0.0 for place in tested])
    beyond = {place for place, p_value in zip(tested, adjusted, strict=True) if p_value <= _FALSE_DISCOVERIES}
    return [attrs.evolve(each, beyond_chance=place in beyond) for place, each in enumerate(differences)]


@attrs.frozen
class _Column:
    """A number that calls have."""

    name: str
    label: str
    unit: str
    before: Doubles
    after: Doubles
    evaluation_id: str | None = None


@attrs.frozen
class _Work:
    """Compares the calls of two runs, or of one scenario of them."""

    matched: Matched
    seed: int
    resamples: int

    def differences(self, before: Sample, after: Sample) -> list[Difference]:
        """Return all differences, not corrected yet."""
        columns = [*_measures(before, after), *self._scores(before, after)]
        shares = [*self._results(before, after), *_states(before, after)]
        return [*self._numbers(columns, self.matched.pairs(before, after)), *shares]

    def _scores(self, before: Sample, after: Sample) -> Iterator[_Column]:
        for each in self.matched.evaluations:
            first, second = _both(before, after, each)
            if _has(first, State.SCORED) or _has(second, State.SCORED):
                yield _Column(
                    f"eval.{each.address}",
                    each.label,
                    "",
                    _dense(first, len(before)),
                    _dense(second, len(after)),
                    each.after_id,
                )

    def _results(self, before: Sample, after: Sample) -> Iterator[Difference]:
        for each in self.matched.evaluations:
            first, second = _both(before, after, each)
            passed = _pass_rate(first), _pass_rate(second)
            if any(share.n for share in passed):
                name, label = f"eval.{each.address}.pass_rate", f"{each.label}, pass rate"
                yield _share_difference(name, label, *passed, each.after_id)
            for choice in dict.fromkeys(
                word for one in (second, first) if one for word in sorted(one.choices)
            ):
                name = f"eval.{each.address}.share.{choice}"
                shares = _choice_share(first, choice), _choice_share(second, choice)
                yield _share_difference(name, f"{each.label}: {choice}", *shares, each.after_id)

    def _numbers(self, columns: Sequence[_Column], pairs: Pairs) -> Iterator[Difference]:
        if not columns:
            return
        before, after = (
            np.column_stack([getattr(column, side) for column in columns]) for side in ("before", "after")
        )
        draws = draw_differences(before, after, pairs, seed=self.seed, resamples=self.resamples)
        for place, column in enumerate(columns):
            yield from _number_differences(column, pairs, draws, place)


def _number_differences(column: _Column, pairs: Pairs, draws: Draws, place: int) -> Iterator[Difference]:
    before, after = (values[~np.isnan(values)] for values in (column.before, column.after))
    together = column.before[pairs.before] + column.after[pairs.after]  # NaN where one has none
    paired = int(np.count_nonzero(~np.isnan(together)))
    enough = min(len(before), len(after)) > 1
    kinds: tuple[tuple[Literal["mean", "median"], Doubles], ...]
    kinds = (("mean", draws.means), ("median", draws.medians))
    for kind, drawn in kinds:
        estimate: Estimate | None = None
        if enough:
            make = estimate_mean if kind == "mean" else estimate_median
            estimate = make(drawn[:, place], before, after)
        values = [
            as_figure(getattr(np, kind)(np.sort(side))) if len(side) else None for side in (before, after)
        ]
        yield Difference(
            name=f"{column.name}.{kind}",
            label=f"{column.label}, {kind}",
            unit=column.unit,
            kind=kind,
            before=values[0],
            after=values[1],
            n_before=len(before),
            n_after=len(after),
            difference=_difference(*values),
            interval=estimate.interval if estimate else None,
            p_value=estimate.p_value if estimate else None,
            beyond_chance=False,
            pairs=paired,
            evaluation_id=column.evaluation_id,
        )


def _share_difference(
    name: str, label: str, before: Share, after: Share, evaluation_id: str | None = None
) -> Difference:
    interval = p_value = None
    if before.n and after.n:
        interval, p_value = compare_shares(before.count, before.n, after.count, after.n)
    return Difference(
        name=name,
        label=label,
        unit="",
        kind="share",
        before=before.share,
        after=after.share,
        n_before=before.n,
        n_after=after.n,
        difference=_difference(before.share, after.share),
        interval=interval,
        p_value=p_value,
        beyond_chance=False,
        evaluation_id=evaluation_id,
    )


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else as_figure(after - before)


def _measures(before: Sample, after: Sample) -> Iterator[_Column]:
    for name, unit in MEASURES.items():
        first, second = before.measures.get(name), after.measures.get(name)
        if first is None and second is None:
            continue
        yield _Column(
            name,
            name.replace("_", " "),
            unit,
            np.full(len(before), np.nan) if first is None else first,
            np.full(len(after), np.nan) if second is None else second,
        )


def _states(before: Sample, after: Sample) -> Iterator[Difference]:
    """Yield the shares of calls by status."""
    for word in sorted({*before.words["status"].known, *after.words["status"].known}):
        shares = _word_share(before, word), _word_share(after, word)
        if any(share.count for share in shares):
            yield _share_difference(f"status.{word}.share", f"{word} calls", *shares)


def _word_share(sample: Sample, word: str) -> Share:
    words = sample.words["status"]
    place = words.known.index(word) if word in words.known else len(words.known) + 1
    return Share(int(np.count_nonzero(words.places == place)), int(np.count_nonzero(words.places >= 0)))


def _both(
    before: Sample, after: Sample, evaluation: MatchedEvaluation
) -> tuple[EvaluationSample | None, EvaluationSample | None]:
    return before.evaluations.get(evaluation.before_id), after.evaluations.get(evaluation.after_id)


def _has(evaluation: EvaluationSample | None, state: State) -> bool:
    return evaluation is not None and bool((evaluation.states == state).any())


def _dense(evaluation: EvaluationSample | None, calls: int) -> Doubles:
    """Return an evaluation's scores, one a call, NaN where there is none."""
    scores = np.full(calls, np.nan)
    if evaluation is not None:
        scores[evaluation.rows] = evaluation.scores
    return scores


def _pass_rate(evaluation: EvaluationSample | None) -> Share:
    if evaluation is None:
        return Share(0, 0)
    passed, not_passed = (
        int(np.count_nonzero(evaluation.states == state)) for state in (State.PASSED, State.NOT_PASSED)
    )
    return Share(passed, passed + not_passed)


def _choice_share(evaluation: EvaluationSample | None, choice: str) -> Share:
    if evaluation is None:
        return Share(0, 0)
    chosen = int(np.count_nonzero(evaluation.states == State.CHOSEN))
    return Share(len(evaluation.choices.get(choice, ())), chosen)


def _newly_failing(matched: Matched, pairs: Pairs) -> list[CallToLookAt]:
    """Return calls that fail an evaluation which their pair passed.

    Where calls are not paired: which no earlier call of their scenario failed.
    """
    before, after = matched.before, matched.after
    partner = dict(zip(pairs.after.tolist(), pairs.before.tolist(), strict=True))
    failing: dict[int, list[str]] = {}
    for each in matched.evaluations:
        earlier, later = _both(before, after, each)
        if earlier is None or later is None:
            continue
        rows = later.rows[later.states == State.NOT_PASSED]
        for row in rows if len(pairs) else _never_failed_before(matched, earlier, rows):
            if not len(pairs) or _passed(earlier, partner.get(int(row))):
                failing.setdefault(int(row), []).append(each.label)
    scores = after.measures.get("overall_score", np.full(len(after), np.nan))
    first = sorted(failing, key=lambda row: (after.scenario_label(row) or "", -len(failing[row])))
    return [
        CallToLookAt(
            call_id=str(after.ids[row]),
            reason="newly failing",
            scenario=after.scenario_label(row),
            score=None if np.isnan(scores[row]) else float(scores[row]),
            evaluations=tuple(failing[row]),
            before_call_id=str(before.ids[partner[row]]) if row in partner else None,
        )
        for row in first[:_MOST_NEWLY_FAILING]
    ]


def _passed(evaluation: EvaluationSample, row: int | None) -> bool:
    if row is None:
        return False
    return bool((evaluation.states[evaluation.rows == row] == State.PASSED).any())


def _never_failed_before(matched: Matched, earlier: EvaluationSample, rows: Places) -> Places:
    """Return those of the later calls whose scenario passed the evaluation before, whenever it was asked."""
    places = matched.before.scenario_places
    failed = set(places[earlier.rows[earlier.states == State.NOT_PASSED]].tolist())
    passed = set(places[earlier.rows[earlier.states == State.PASSED]].tolist()) - failed
    own = matched.after.scenario_places[rows].tolist()
    return rows[[matched.scenario_places.get(place) in passed for place in own]]
