"""The results of an analysis: figures, how many values each is based on, and how complete the read was."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from futureagi_async.analysis.intervals import Interval, share_interval
from futureagi_async.analysis.texts import quantity, slug
from futureagi_async.models.html import MAX_ROWS, html_table
from futureagi_async.words import CallStatus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from futureagi_async.analysis.sample import Sample

    FloatArray: TypeAlias = NDArray[np.float64]

Completeness: TypeAlias = Literal["complete", "incomplete", "unknown"]
"""Whether the calls are all calls of their lists; ``unknown`` if there is no report of the read."""


def _short(values: Sequence[object]) -> str:
    return f"<{len(values)}>"


@attrs.frozen
class ReadVerdict:
    """Whether the read was complete."""

    completeness: Completeness
    reasons: tuple[str, ...] = ()
    """Why it is incomplete or unknown, one sentence each."""
    complete_as_of: datetime | None = None
    """If complete: the verdict holds for the lists at this time of the server's clock."""

    def to_dict(self) -> dict[str, object]:
        """Return the verdict as a dict for JSON."""
        moment = self.complete_as_of
        return {
            "completeness": self.completeness,
            "reasons": list(self.reasons),
            "complete_as_of": None if moment is None else moment.isoformat(),
        }


@attrs.frozen
class Figure:
    """One number, and how many values it is based on."""

    name: str
    """For example ``overall_score.mean``, ``eval.goal_reached.pass_rate``, ``status.failed``."""
    value: float | None
    """``None`` if there were no values, which is different from zero."""
    n: int
    """How many values the number is based on."""
    unit: str = ""
    """For example ``s``; empty for counts, ratios and scores."""
    evaluation_id: str | None = None
    """For a figure of an evaluation: the id of the evaluation."""


@attrs.frozen
class Share:
    """A part of ``n``, as a count and a proportion."""

    count: int
    n: int

    @property
    def share(self) -> float | None:
        """The proportion, 0 to 1; ``None`` if ``n`` is 0."""
        return self.count / self.n if self.n else None

    def interval(self) -> Interval | None:
        """Return the 95 % Wilson interval; ``None`` if ``n`` is 0. Needs statsmodels."""
        return share_interval(self.count, self.n) if self.n else None

    def to_dict(self) -> dict[str, object]:
        """Return proportion, count and n as a dict for JSON."""
        return {"share": self.share, "count": self.count, "n": self.n}


@attrs.frozen
class Counts:
    """How often each value of a field occurs."""

    n: int
    """Number of calls that have the field."""
    missing: int
    """Number of calls without the field."""
    words: Mapping[str, int]
    """Number of calls by value, the most frequent first."""
    other: int = 0
    """Number of calls with other values, after the first thousand distinct ones."""

    def of(self, word: str) -> Share:
        """Return the share of calls with this value."""
        return Share(self.words.get(word, 0), self.n)

    def to_dict(self) -> dict[str, object]:
        """Return all counts as a dict for JSON."""
        return {"n": self.n, "missing": self.missing, "other": self.other, "counts": dict(self.words)}


@attrs.frozen(kw_only=True)
class MeasureSummary:
    """A numeric field of calls, summarised; ``None`` if no call has a value, or if a figure is too large."""

    name: str
    unit: str
    """For example ``s``; empty for counts, ratios and scores."""
    n: int
    """Number of calls with a value."""
    missing: int
    """Number of calls without a value. They do not count as zero."""
    mean: float | None
    median: float | None
    p5: float | None
    p95: float | None
    values: "FloatArray" = attrs.field(repr=False, eq=False)
    """The values of the calls that have one, in the order of reading."""

    def interval(self) -> Interval | None:
        """Return the 95 % bootstrap interval of the mean; ``None`` for fewer than two values or no mean."""
        from futureagi_async.analysis.bootstrap import mean_interval

        return mean_interval(self.values)

    def figures(self, prefix: str) -> Iterator[Figure]:
        """Yield the figures, with names that begin with ``prefix``."""
        for name in ("mean", "median", "p5", "p95"):
            yield Figure(f"{prefix}.{name}", getattr(self, name), self.n, self.unit)
        yield Figure(f"{prefix}.n", self.n, self.n + self.missing)
        yield Figure(f"{prefix}.missing", self.missing, self.n + self.missing)

    def to_dict(self) -> dict[str, object]:
        """Return the figures as a dict for JSON, without the values."""
        names = ("unit", "n", "missing", "mean", "median", "p5", "p95")
        return {name: getattr(self, name) for name in names}


@attrs.frozen(kw_only=True)
class EvaluationSummary:
    """The results of one evaluation. By its type it has ``passed``, ``scores`` or ``choices``."""

    id: str
    name: str | None
    type: str | None
    """As sent with the results: ``score``, ``Pass/Fail``, ``choices``, or a newer type."""
    n: int
    """Number of calls with a result."""
    pending: int
    skipped: int
    failed: int
    """Number of calls whose evaluation ended with an error. (A call that did not pass is not counted.)"""
    unreadable: int
    """Number of calls whose result is empty or does not fit the type."""
    passed: Share | None = None
    scores: MeasureSummary | None = None
    choices: Mapping[str, Share] = attrs.field(factory=dict)
    """By choice, the most frequent first. A call can have several, so the sum can exceed 1."""

    @property
    def label(self) -> str:
        """The name, or the id if there is no name."""
        return self.name or self.id

    @property
    def pass_rate(self) -> float | None:
        """The share of calls that passed, 0 to 1; ``None`` if no call has such a result."""
        return None if self.passed is None else self.passed.share

    def figures(self) -> Iterator[Figure]:
        """Yield the figures. Their names contain the evaluation's name, which may not be unique."""
        prefix = f"eval.{slug(self.label)}"
        if self.passed is not None or not self.n:  # without a result, the kind of evaluation is unknown
            yield Figure(
                f"{prefix}.pass_rate", self.pass_rate, self.passed.n if self.passed else 0, "", self.id
            )
        if self.scores is not None or not self.n:
            for name in ("mean", "median", "p5", "p95"):
                value = getattr(self.scores, name, None)
                yield Figure(f"{prefix}.{name}", value, self.scores.n if self.scores else 0, "", self.id)
        for choice, share in self.choices.items():
            yield Figure(f"{prefix}.share.{choice}", share.share, share.n, "", self.id)
        asked = self.n + self.pending + self.skipped + self.failed + self.unreadable
        for name in ("n", "pending", "skipped", "failed", "unreadable"):
            yield Figure(f"{prefix}.{name}", getattr(self, name), asked, "", self.id)

    def to_dict(self) -> dict[str, object]:
        """Return everything as a dict for JSON."""
        names = ("id", "name", "type", "n", "pending", "skipped", "failed", "unreadable")
        found: dict[str, object] = {name: getattr(self, name) for name in names}
        if self.passed is not None:
            found["pass_rate"] = self.passed.to_dict()
        if self.scores is not None:
            found["scores"] = self.scores.to_dict()
        if self.choices:
            found["choices"] = {choice: share.to_dict() for choice, share in self.choices.items()}
        return found


@attrs.frozen(kw_only=True)
class CallFigures:
    """The figures of a set of calls."""

    calls: int
    counts: Mapping[str, Counts]
    """By field: ``status``, ``call_type``, ``simulation_call_type``, ``ended_reason``."""
    measures: Mapping[str, MeasureSummary]
    """By field. A field that no call has is present with ``n`` 0."""
    evaluations: Mapping[str, EvaluationSummary]
    """By evaluation id, sorted by name. Evaluations with equal names stay separate."""

    def figures(self) -> Iterator[Figure]:
        """Yield every figure."""
        yield Figure("calls", self.calls, self.calls)
        for field, counts in self.counts.items():
            # all documented statuses are known, so zero is a figure; for other fields the set is open
            known = (*counts.words, *CallStatus) if field == "status" else counts.words
            for word in dict.fromkeys(map(str, known)):
                share = counts.of(word)
                yield Figure(f"{field}.{word}", share.count, counts.n)
                yield Figure(f"{field}.{word}.share", share.share, counts.n)
            yield Figure(f"{field}.missing", counts.missing, self.calls)
        for name, measure in self.measures.items():
            yield from measure.figures(name)
        for evaluation in self.evaluations.values():
            yield from evaluation.figures()

    def to_dict(self) -> dict[str, object]:
        """Return all figures as a dict for JSON, without measures that no call has."""
        return {
            "calls": self.calls,
            **{field: counts.to_dict() for field, counts in self.counts.items()},
            "measures": {name: found.to_dict() for name, found in self.measures.items() if found.n},
            "evaluations": [found.to_dict() for found in self.evaluations.values()],
        }


@attrs.frozen(kw_only=True, repr=False)
class ScenarioSummary(CallFigures):
    """The figures of the calls of one scenario."""

    id: str | None
    name: str | None

    @property
    def label(self) -> str:
        """The name, or the id if there is no name."""
        return self.name or self.id or "no scenario"

    def to_dict(self) -> dict[str, object]:
        """Return all figures as a dict for JSON."""
        return {"id": self.id, "name": self.name, **super().to_dict()}

    def __repr__(self) -> str:
        return f"<ScenarioSummary {self.label!r}, {quantity(self.calls, 'call')}>"


@attrs.frozen(kw_only=True)
class CallToLookAt:
    """A call that a person should look at first, and why."""

    call_id: str
    reason: Literal["low score", "newly failing"]
    scenario: str | None
    """The scenario's name, or its id if there is no name."""
    score: float | None
    """The call's ``overall_score``."""
    evaluations: tuple[str, ...] = ()
    """For ``newly failing``: the evaluations that the call fails."""
    before_call_id: str | None = None
    """For paired runs: the id of the earlier call, which did not fail."""

    def to_dict(self) -> dict[str, object]:
        """Return everything as a dict for JSON."""
        return {**attrs.asdict(self), "evaluations": list(self.evaluations)}


@attrs.frozen(kw_only=True, repr=False)
class Summary(CallFigures):
    """The figures of a set of calls. Each figure has its ``n``; missing values never count as zero.

    Snapshots from before a rerun are counted, but they are in no figure, because the call has a newer state.
    A call that came from several lists counts once.
    """

    label: str
    """A description of what was read."""
    verdict: ReadVerdict
    """Whether the read was complete."""
    snapshots: int
    """Number of snapshots that were left out."""
    duplicates: int
    """How many times a call came again from another list."""
    days: Mapping[date, Mapping[str, int]] = attrs.field(factory=dict)
    """Number of calls by day and status. The day (UTC) is that of start, else creation, else last change."""
    scenarios: tuple[ScenarioSummary, ...] = attrs.field(default=(), repr=_short)
    """Sorted by name; calls without a scenario are last."""
    sample: "Sample" = attrs.field(eq=False)
    """The values of the calls, for `compare`."""

    @property
    def complete(self) -> bool:
        """Whether the read was provably complete."""
        return self.verdict.completeness == "complete"

    def low_scores(self, count: int = 10) -> tuple[CallToLookAt, ...]:
        """Return the calls with the lowest ``overall_score``, the lowest first."""
        sample = self.sample
        return tuple(
            CallToLookAt(
                call_id=str(sample.ids[row]),
                reason="low score",
                scenario=sample.scenario_label(row),
                score=float(sample.measures["overall_score"][row]),
            )
            for row in sample.lowest("overall_score", count)
        )

    def to_dict(self) -> dict[str, object]:
        """Return all figures and the verdict as a dict for JSON."""
        return {
            "label": self.label,
            **self.verdict.to_dict(),
            "snapshots": self.snapshots,
            "duplicates": self.duplicates,
            **super().to_dict(),
            "days": {day.isoformat(): dict(words) for day, words in self.days.items()},
            "scenarios": [scenario.to_dict() for scenario in self.scenarios],
        }

    def __repr__(self) -> str:
        return f"<Summary of {self._in_words()}>"

    def _repr_html_(self) -> str:
        """Show the results of evaluations, then the measures, up to the maximum number of rows."""
        rows = [
            (each.label, "passed", _short_number(each.pass_rate), each.n)
            if each.scores is None
            else (each.label, "mean", _short_number(each.scores.mean), each.n)
            for each in self.evaluations.values()
            if each.passed is not None or each.scores is not None
        ]
        rows += [
            (
                f"{each.name}, {each.unit}" if each.unit else each.name,
                "mean",
                _short_number(each.mean),
                each.n,
            )
            for each in self.measures.values()
            if each.n
        ]
        left = len(rows) - MAX_ROWS
        note = f"{left} more in figures()" if left > 0 else ""
        return html_table(self._in_words(), ("figure", "", "value", "n"), rows[:MAX_ROWS], note)

    def _in_words(self) -> str:
        return f"{self.label}: {quantity(self.calls, 'call')}, {self.verdict.completeness}"


@attrs.frozen(kw_only=True)
class Difference:
    """One figure before and after."""

    name: str
    """The figure's name, such as ``overall_score.mean``. If evaluations share a name, it has their ids."""
    label: str
    """A name for people, such as ``Politeness, mean``."""
    unit: str
    kind: Literal["mean", "median", "share"]
    before: float | None
    after: float | None
    n_before: int
    n_after: int
    difference: float | None
    """``after - before``; ``None`` if one of them is ``None``."""
    interval: Interval | None
    """Confidence interval of the difference; ``None`` if a run has fewer than two values."""
    p_value: float | None
    """Before the correction; ``None`` if a run has too few values."""
    beyond_chance: bool
    """Whether the difference is statistically significant: at a false discovery rate of 5 %, with the
    Benjamini-Hochberg correction over all figures."""
    pairs: int = 0
    """Number of pairs of calls that the difference is based on; 0 if calls are not paired."""
    evaluation_id: str | None = None
    """For a figure of an evaluation: the id of the evaluation in the later run."""

    def to_dict(self) -> dict[str, object]:
        """Return everything as a dict for JSON."""
        interval = None if self.interval is None else self.interval.to_dict()
        return {**attrs.asdict(self), "interval": interval}


@attrs.frozen(kw_only=True, repr=False)
class ScenarioComparison:
    """The differences for one scenario that both runs have."""

    id: str | None
    name: str | None
    calls_before: int
    calls_after: int
    differences: tuple[Difference, ...]

    @property
    def label(self) -> str:
        """The name, or the id if there is no name."""
        return self.name or self.id or "no scenario"

    def to_dict(self) -> dict[str, object]:
        """Return everything as a dict for JSON."""
        names = ("id", "name", "calls_before", "calls_after")
        found: dict[str, object] = {name: getattr(self, name) for name in names}
        return {**found, "differences": [each.to_dict() for each in self.differences]}

    def __repr__(self) -> str:
        return f"<ScenarioComparison {self.label!r}, {self.calls_before} and {self.calls_after} calls>"


@attrs.frozen(kw_only=True, repr=False)
class Comparison:
    """The differences between two summaries, and which are statistically significant."""

    before: Summary
    after: Summary
    differences: tuple[Difference, ...]
    """The differences over all calls."""
    scenarios: tuple[ScenarioComparison, ...]
    """The differences for each scenario that both runs have. Their p-values are corrected separately."""
    calls_to_look_at: tuple[CallToLookAt, ...]
    """Calls of ``after``: first newly failing ones, then those with the lowest scores."""
    pairs: int
    """Number of pairs of calls with the same scenario and dataset row."""
    unmatched: tuple[str, ...] = ()
    """Evaluations and scenarios that could not be compared, one sentence each."""

    @property
    def complete(self) -> bool:
        """Whether both reads were provably complete."""
        return self.before.complete and self.after.complete

    def difference(self, name: str) -> Difference | None:
        """Return the difference of one figure over all calls, by name; ``None`` if there is none."""
        return next((each for each in self.differences if each.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return both summaries and all differences as a dict for JSON."""
        return {
            "complete": self.complete,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "pairs": self.pairs,
            "differences": [each.to_dict() for each in self.differences],
            "scenarios": [each.to_dict() for each in self.scenarios],
            "calls_to_look_at": [each.to_dict() for each in self.calls_to_look_at],
            "unmatched": list(self.unmatched),
        }

    def __repr__(self) -> str:
        return f"<Comparison of {self._in_words()}>"

    def _repr_html_(self) -> str:
        """Show the figures that differ significantly, or the first figures if none does."""
        beyond = [each for each in self.differences if each.beyond_chance]
        shown = (beyond or self.differences)[:MAX_ROWS]
        rows = [
            (
                each.label,
                _short_number(each.before),
                _short_number(each.after),
                _short_number(each.difference),
                "" if each.interval is None else _short_interval(each.interval),
            )
            for each in shown
        ]
        reads = "" if self.complete else "At least one read is not known to be complete. "
        left = len(self.differences) - len(rows)
        note = f"{reads}{left} more in differences" if left else reads
        return html_table(self._in_words(), ("figure", "before", "after", "difference", "95 %"), rows, note)

    def _in_words(self) -> str:
        beyond = sum(each.beyond_chance for each in self.differences)
        words = f"{beyond} of {len(self.differences)} figures differ significantly"
        return f"{self.before.label} with {self.after.label}: {words}"


def _short_number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _short_interval(interval: Interval) -> str:
    return f"{interval.low:.3g} to {interval.high:.3g}"
