"""What an analysis gives: figures with the number of calls behind each, and how complete the read was."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from futureagi_async.analysis.intervals import Interval, share_interval
from futureagi_async.analysis.texts import counted, slug
from futureagi_async.models.html import MAX_ROWS, html_table
from futureagi_async.words import CallStatus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from futureagi_async.analysis.sample import Sample

    Doubles: TypeAlias = NDArray[np.float64]

Completeness: TypeAlias = Literal["complete", "incomplete", "unknown"]
"""Whether all calls that were asked for are in what was read; ``unknown`` where nothing says so."""


def _short(values: Sequence[object]) -> str:
    return f"<{len(values)}>"


@attrs.frozen
class ReadVerdict:
    """Whether what was read is all there is."""

    completeness: Completeness
    reasons: tuple[str, ...] = ()
    """Why it is incomplete or unknown, a sentence each."""
    complete_as_of: datetime | None = None
    """The server's time up to which all lists are complete: that of the list with the earliest."""

    def to_dict(self) -> dict[str, object]:
        """Return the verdict, ready for JSON."""
        moment = self.complete_as_of
        return {
            "completeness": self.completeness,
            "reasons": list(self.reasons),
            "complete_as_of": None if moment is None else moment.isoformat(),
        }


@attrs.frozen
class Figure:
    """One number, and how many values it is made of."""

    name: str
    """Its address, such as ``overall_score.mean``, ``eval.goal_reached.pass_rate``, ``status.failed``."""
    value: float | None
    """``None`` where there was nothing to make it of, which is not zero."""
    n: int
    unit: str = ""
    evaluation_id: str | None = None
    """Of an evaluation's figure: which."""


@attrs.frozen
class Share:
    """How many of ``n`` are of one kind."""

    count: int
    n: int

    @property
    def share(self) -> float | None:
        """0 to 1; ``None`` of nothing."""
        return self.count / self.n if self.n else None

    def interval(self) -> Interval | None:
        """Return Wilson's 95 % interval; ``None`` of nothing. Needs statsmodels."""
        return share_interval(self.count, self.n) if self.n else None

    def to_dict(self) -> dict[str, object]:
        """Return the share with both numbers."""
        return {"share": self.share, "count": self.count, "n": self.n}


@attrs.frozen
class Counts:
    """How often each word stood in a field."""

    n: int
    """Calls that have the field."""
    missing: int
    """Calls that have it not."""
    words: Mapping[str, int]
    """The most frequent first."""
    other: int = 0
    """Calls with words beyond the first thousand different ones."""

    def of(self, word: str) -> Share:
        """Return how many calls have this word."""
        return Share(self.words.get(word, 0), self.n)

    def to_dict(self) -> dict[str, object]:
        """Return all of it, ready for JSON."""
        return {"n": self.n, "missing": self.missing, "other": self.other, "counts": dict(self.words)}


@attrs.frozen(kw_only=True)
class MeasureSummary:
    """A number of calls in a few figures; ``None`` where no call has it, or no double holds the figure."""

    name: str
    unit: str
    """Such as ``s``; empty for counts, ratios and scores."""
    n: int
    """Calls that have it."""
    missing: int
    """Calls that have it not; they count as nothing, not as zero."""
    mean: float | None
    median: float | None
    p5: float | None
    p95: float | None
    values: "Doubles" = attrs.field(repr=False, eq=False)
    """The values of the calls that have it, in the order in which they were read."""

    def interval(self) -> Interval | None:
        """Return a bootstrap's 95 % interval of the mean; ``None`` below two values, or without a mean."""
        from futureagi_async.analysis.bootstrap import mean_interval

        return mean_interval(self.values)

    def figures(self, prefix: str) -> Iterator[Figure]:
        """Yield its figures under their addresses."""
        for name in ("mean", "median", "p5", "p95"):
            yield Figure(f"{prefix}.{name}", getattr(self, name), self.n, self.unit)
        yield Figure(f"{prefix}.n", self.n, self.n + self.missing)
        yield Figure(f"{prefix}.missing", self.missing, self.n + self.missing)

    def to_dict(self) -> dict[str, object]:
        """Return the figures, without the values."""
        names = ("unit", "n", "missing", "mean", "median", "p5", "p95")
        return {name: getattr(self, name) for name in names}


@attrs.frozen(kw_only=True)
class EvaluationSummary:
    """What came of one evaluation. By its type it has ``passed``, ``scores`` or ``choices``."""

    id: str
    name: str | None
    type: str | None
    """As sent with its results: ``score``, ``Pass/Fail``, ``choices``, or a later word."""
    n: int
    """Calls with a result."""
    pending: int
    skipped: int
    failed: int
    """Calls whose evaluation ended in an error, not those that failed it."""
    unreadable: int
    """Calls with a result that is none of its type, or empty."""
    passed: Share | None = None
    scores: MeasureSummary | None = None
    choices: Mapping[str, Share] = attrs.field(factory=dict)
    """By choice, the most frequent first. Where a call has several, each counts: together they exceed 1."""

    @property
    def label(self) -> str:
        """Its name, else its id."""
        return self.name or self.id

    @property
    def pass_rate(self) -> float | None:
        """The share of calls that passed, 0 to 1; ``None`` where none has such a result."""
        return None if self.passed is None else self.passed.share

    def figures(self) -> Iterator[Figure]:
        """Yield its figures; their addresses have its name, which others may share."""
        prefix = f"eval.{slug(self.label)}"
        if self.passed is not None or not self.n:  # without any result it is not known which it would have
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
        """Return all of it, ready for JSON."""
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
    """The figures of some calls."""

    calls: int
    counts: Mapping[str, Counts]
    """By field: ``status``, ``call_type``, ``simulation_call_type``, ``ended_reason``."""
    measures: Mapping[str, MeasureSummary]
    """By field; those that no call has are there with ``n`` 0."""
    evaluations: Mapping[str, EvaluationSummary]
    """By id, in the order of their names: equal names are kept apart."""

    def figures(self) -> Iterator[Figure]:
        """Yield every figure."""
        yield Figure("calls", self.calls, self.calls)
        for field, counts in self.counts.items():
            # that no call has a documented status is known; of other words nobody knows which there are
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
        """Return all figures, ready for JSON; measures that no call has are left out."""
        return {
            "calls": self.calls,
            **{field: counts.to_dict() for field, counts in self.counts.items()},
            "measures": {name: found.to_dict() for name, found in self.measures.items() if found.n},
            "evaluations": [found.to_dict() for found in self.evaluations.values()],
        }


@attrs.frozen(kw_only=True, repr=False)
class ScenarioSummary(CallFigures):
    """The figures of one scenario's calls."""

    id: str | None
    name: str | None

    @property
    def label(self) -> str:
        """Its name, else its id."""
        return self.name or self.id or "no scenario"

    def to_dict(self) -> dict[str, object]:
        """Return all figures, ready for JSON."""
        return {"id": self.id, "name": self.name, **super().to_dict()}

    def __repr__(self) -> str:
        return f"<ScenarioSummary {self.label!r}, {counted(self.calls, 'call')}>"


@attrs.frozen(kw_only=True)
class CallToLookAt:
    """A call that a person should look at first, and why."""

    call_id: str
    reason: Literal["low score", "newly failing"]
    scenario: str | None
    """Its name, else its id."""
    score: float | None
    """Its ``overall_score``."""
    evaluations: tuple[str, ...] = ()
    """Where it is newly failing: what it fails."""
    before_call_id: str | None = None
    """Where runs are paired: the call of the same row that did not fail."""

    def to_dict(self) -> dict[str, object]:
        """Return all of it, ready for JSON."""
        return {**attrs.asdict(self), "evaluations": list(self.evaluations)}


@attrs.frozen(kw_only=True, repr=False)
class Summary(CallFigures):
    """What some calls say together. Each figure has its ``n``, and what is missing is never a zero.

    Rerun snapshots are states of calls that have newer ones: they are counted, and in no figure. A call
    that came from several lists counts once.
    """

    label: str
    """What was read, in words."""
    verdict: ReadVerdict
    snapshots: int
    duplicates: int
    """Times that a call came again, from a further list."""
    days: Mapping[date, Mapping[str, int]] = attrs.field(factory=dict)
    """By day of the start in UTC (else of the creation, else of the last change): calls by status."""
    scenarios: tuple[ScenarioSummary, ...] = attrs.field(default=(), repr=_short)
    """By name; calls without a scenario at the end."""
    sample: "Sample" = attrs.field(eq=False)
    """The calls' values, for `compare`."""

    @property
    def complete(self) -> bool:
        """Whether all calls that were asked for are known to be in it."""
        return self.verdict.completeness == "complete"

    def low_scores(self, count: int = 10) -> tuple[CallToLookAt, ...]:
        """Return the calls of the lowest ``overall_score``, the lowest first."""
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
        """Return all figures and the verdict, ready for JSON."""
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
        """Show what came of each evaluation, then the measures, as far as there is room."""
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
        return f"{self.label}: {counted(self.calls, 'call')}, {self.verdict.completeness}"


@attrs.frozen(kw_only=True)
class Difference:
    """One figure before and after."""

    name: str
    """Its address, such as ``overall_score.mean``; of an evaluation whose name others share with its id."""
    label: str
    """For people, such as ``Politeness, mean``."""
    unit: str
    kind: Literal["mean", "median", "share"]
    before: float | None
    after: float | None
    n_before: int
    n_after: int
    difference: float | None
    """``after - before``; ``None`` where one of them is."""
    interval: Interval | None
    """Of the difference; ``None`` below two values on a side."""
    p_value: float | None
    """Before the correction; ``None`` where there is no interval."""
    beyond_chance: bool
    """Whether chance is no good explanation, after Benjamini-Hochberg over all figures (5 %)."""
    pairs: int = 0
    """How many pairs of calls it rests on; 0 where calls are not compared in pairs."""
    evaluation_id: str | None = None
    """Of an evaluation's figure: which it is in the later calls."""

    def to_dict(self) -> dict[str, object]:
        """Return all of it, ready for JSON."""
        interval = None if self.interval is None else self.interval.to_dict()
        return {**attrs.asdict(self), "interval": interval}


@attrs.frozen(kw_only=True, repr=False)
class ScenarioComparison:
    """The differences of one scenario that both have."""

    id: str | None
    name: str | None
    calls_before: int
    calls_after: int
    differences: tuple[Difference, ...]

    @property
    def label(self) -> str:
        """Its name, else its id."""
        return self.name or self.id or "no scenario"

    def to_dict(self) -> dict[str, object]:
        """Return all of it, ready for JSON."""
        names = ("id", "name", "calls_before", "calls_after")
        found: dict[str, object] = {name: getattr(self, name) for name in names}
        return {**found, "differences": [each.to_dict() for each in self.differences]}

    def __repr__(self) -> str:
        return f"<ScenarioComparison {self.label!r}, {self.calls_before} and {self.calls_after} calls>"


@attrs.frozen(kw_only=True, repr=False)
class Comparison:
    """What differs between two summaries, and whether chance explains it."""

    before: Summary
    after: Summary
    differences: tuple[Difference, ...]
    """Over all calls."""
    scenarios: tuple[ScenarioComparison, ...]
    """Of the scenarios that both have; corrected as a family of their own."""
    calls_to_look_at: tuple[CallToLookAt, ...]
    """Of ``after``: newly failing ones first, then the lowest scores."""
    pairs: int
    """Pairs of calls of the same scenario and dataset row."""
    unmatched: tuple[str, ...] = ()
    """Evaluations and scenarios that could not be compared, a sentence each."""

    @property
    def complete(self) -> bool:
        """Whether both reads are known to be complete."""
        return self.before.complete and self.after.complete

    def difference(self, name: str) -> Difference | None:
        """Return the difference of one figure over all calls, by its address; ``None`` for others."""
        return next((each for each in self.differences if each.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return both summaries and all differences, ready for JSON."""
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
        """Show the figures that differ beyond chance; the first of all where none does."""
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
        reads = "" if self.complete else "Not both reads are known to be complete. "
        left = len(self.differences) - len(rows)
        note = f"{reads}{left} more in differences" if left else reads
        return html_table(self._in_words(), ("figure", "before", "after", "difference", "95 %"), rows, note)

    def _in_words(self) -> str:
        beyond = sum(each.beyond_chance for each in self.differences)
        words = f"{beyond} of {len(self.differences)} figures differ beyond chance"
        return f"{self.before.label} with {self.after.label}: {words}"


def _short_number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _short_interval(interval: Interval) -> str:
    return f"{interval.low:.3g} to {interval.high:.3g}"
