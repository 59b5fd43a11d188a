"""The charts of a report, drawn by altair from aggregated values. No chart contains single calls."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any, Final

import attrs
import numpy as np

from futureagi_async.analysis.intervals import LEVEL, Interval, stats
from futureagi_async.analysis.sample import FloatArray
from futureagi_async.analysis.texts import fitted, label, number
from futureagi_async.analysis.values import (
    Comparison,
    Difference,
    EvaluationSummary,
    MeasureSummary,
    ScenarioComparison,
    ScenarioSummary,
    Share,
    Summary,
)

WIDE: Final = 500
NARROW: Final = 300
"""Widths in pixels: half a desktop page, and a phone's page."""

INK: Final = "#1f2933"
QUIET: Final = "#6b7785"
GRID: Final = "#e4e7eb"
AFTER: Final = "#2563c9"
BEFORE: Final = "#9aa5b1"
GOOD: Final = "#138a5b"
BAD: Final = "#cc3b33"
WARN: Final = "#c77d0a"
OTHER: Final = "#7b61c9"
PAPER: Final = "#ffffff"
DARK: Final[Mapping[str, str]] = {
    INK: "#e6ebf1",
    QUIET: "#97a3b2",
    GRID: "#2f3743",
    AFTER: "#6ea3ff",
    BEFORE: "#6b7785",
    GOOD: "#3fc48c",
    BAD: "#ff7a70",
    WARN: "#f0ab3c",
    OTHER: "#a891ff",
    PAPER: "#1b212a",
}
"""The colours in dark mode. A style sheet replaces each colour by its dark one."""

STATUS_COLOURS: Final[Mapping[str, str]] = {
    "completed": GOOD,
    "failed": BAD,
    "cancelled": WARN,
    "ongoing": AFTER,
    "analyzing": OTHER,
}
_MOST_ROWS: Final = 24
_MOST_WORDS: Final = 8
_MOST_CHOICES_CHARTS: Final = 6
_MOST_BARS: Final = 45
_LARGEST: Final = 1e100  # larger values are not drawn, because a scale would overflow
_NAME: Final = 20
_LINE: Final = 15
_CHARACTER: Final = 7
_BETWEEN_ROWS: Final = 7
"""Height in pixels of a row's name, of each run in the row, and of the space below it."""
_BOOTSTRAP_UP_TO: Final = 1_000  # values; above, the bootstrap and Student's t agree, and that is faster
_PERCENTILES: Final = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
LATENCIES: Final = {
    "response_time": "Response time",
    "avg_agent_latency": "Agent latency",
    "avg_latency_ms": "Chat latency",
    "avg_stop_time_after_interruption": "Stop after interruption",
}


class Data:
    """The data sets of a chart: referenced by name, so that layers do not copy them."""

    def __init__(self, alt: Any) -> None:
        self._alt = alt
        self.sets: dict[str, Sequence[Mapping[str, Any]]] = {}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Add a data set, and return a reference to it."""
        name = f"rows {len(self.sets)}"
        self.sets[name] = rows
        return self._alt.NamedData(name=name)


@attrs.frozen
class Chart:
    """A chart, independent of its width."""

    name: str
    """The name of its file."""
    title: str
    note: str
    """The caption: what is drawn, and of how many calls."""
    height: int
    layers: Callable[[Any, Data, int], Any]
    """Returns the chart for altair, a `Data` and a width, without its size."""

    def spec(self, width: int) -> dict[str, Any]:
        """Return the chart as Vega-Lite JSON."""
        import altair

        data = Data(altair)
        found: dict[str, Any] = self.layers(altair, data, width).to_dict(validate=False)
        return found | {
            "datasets": data.sets,
            "width": width,
            "height": self.height,
            "background": None,
            "padding": {"left": 0, "top": 4, "bottom": 4, "right": 8},
            "autosize": {"type": "fit-x"},
            "config": _CONFIG,
        }


_CONFIG: Final[dict[str, Any]] = {
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": QUIET,
        "titleColor": QUIET,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "gridColor": GRID,
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
    },
    "legend": {
        "labelColor": INK,
        "labelFontSize": 11,
        "title": None,
        "orient": "top",
        "symbolType": "circle",
        "columnPadding": 18,
        "labelLimit": 0,
        "columns": 3,
    },
    "text": {"color": INK, "fontSize": 11},
}


@attrs.frozen
class Run:
    """A run of the report."""

    name: str
    word: str
    """``before`` or ``after``; empty if there is only one run."""
    colour: str
    summary: Summary


def runs_of(data: Summary | Comparison) -> tuple[Run, ...]:
    """Return the runs, the earlier first."""
    if isinstance(data, Summary):
        return (Run(label(data.label, 60), "", AFTER, data),)
    before, after = data.before, data.after
    return (
        Run(label(before.label, 60), "before", BEFORE, before),
        Run(label(after.label, 60), "after", AFTER, after),
    )


def charts_of(data: Summary | Comparison) -> Iterator[Chart]:
    """Yield the charts that have values."""
    runs = runs_of(data)
    yield from _score_chart(runs)
    if isinstance(data, Comparison):
        yield from _scenario_differences(data)
    else:
        yield from _scenario_scores(data.scenarios, runs)
    yield from _pass_rates(runs)
    yield from _evaluation_scores(runs)
    yield from _choices(runs)
    yield from _latencies(runs)
    yield from _status_over_time(runs)
    yield from _ended_reasons(runs)


def mean_interval(measure: MeasureSummary) -> Interval | None:
    """Return a 95 % interval of a mean: by bootstrap, or by Student's t for many values."""
    if measure.n <= _BOOTSTRAP_UP_TO:
        return measure.interval()
    with np.errstate(over="ignore", invalid="ignore"):
        error = stats().sem(measure.values)
        low, high = stats().t.interval(LEVEL, measure.n - 1, loc=measure.mean, scale=error)
    return Interval(float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else None


def _colour(alt: Any, runs: Sequence[Run]) -> Any:
    """Return the colour scale of the runs, without a legend for a single run."""
    return _colours(alt, {run.word: run.colour for run in runs})


def _colours(alt: Any, colours: Mapping[str, str]) -> Any:
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color("colour:N", scale=scale, legend=alt.Legend() if len(colours) > 1 else None)


def _sizes(runs: Sequence[Run], numbers: Sequence[int]) -> str:
    """Return the numbers of calls in a chart, for its caption."""
    if len(runs) == 1:
        return f"n = {numbers[0]:,}"
    return ", ".join(
        f"n = {found:,} {word}" for found, word in zip(numbers, ("before", "after"), strict=True)
    )


# Scores


def _finite(values: FloatArray) -> FloatArray:
    found: FloatArray = values[np.isfinite(values) & (np.abs(values) < _LARGEST)]
    return found


def _score_chart(runs: Sequence[Run]) -> Iterator[Chart]:
    values = [_finite(run.summary.measures["overall_score"].values) for run in runs]
    together = np.concatenate(values)
    if not len(together):
        return
    edges = _edges(together)
    rows = []
    means = []
    for run, found in zip(runs, values, strict=True):
        if not len(found):
            continue
        shares = np.histogram(found, edges)[0] / len(found)
        rows += [
            {"colour": run.word, "from": low, "to": high, "share": share}
            for low, high, share in zip(edges[:-1].tolist(), edges[1:].tolist(), shares.tolist(), strict=True)
        ]
        means.append(
            {"colour": run.word, "mean": float(np.mean(found)), "label": number(float(np.mean(found)))}
        )

    def layers(alt: Any, data: Data, _: int) -> Any:
        x = alt.X("from:Q", bin="binned", title="Overall score", axis=alt.Axis(grid=False, tickCount=6))
        y = alt.Y("share:Q", title="Share of calls", axis=alt.Axis(format="%", tickCount=4), stack=None)
        bars = (
            alt.Chart(data(rows))
            .mark_bar(opacity=0.75 if len(runs) > 1 else 0.9, binSpacing=1)
            .encode(x, alt.X2("to:Q"), y, _colour(alt, runs))
        )
        rule = (
            alt.Chart(data(means))
            .mark_rule(strokeDash=[4, 3], strokeWidth=1.5)
            .encode(alt.X("mean:Q"), _colour(alt, runs))
        )
        return bars + rule

    sizes = [len(found) for found in values]
    words = " and ".join(f"{each['label']}" for each in means)
    yield Chart(
        "scores",
        "Scores of calls",
        f"Share of calls by overall score. Dashed line: the mean, {words}. {_sizes(runs, sizes)}.",
        200,
        layers,
    )


def _edges(values: FloatArray) -> FloatArray:
    """Return the edges of about twenty bins, with round numbers for usual scales."""
    low, high = float(values.min()), float(values.max())
    for top in (1.0, 5.0, 10.0, 100.0):
        if low >= 0 and high <= top and high > top / 10:
            return np.linspace(0, top, 21)
    if low == high:
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, 21)


@attrs.frozen
class _Mark:
    """A value with its interval, in a row of a chart."""

    row: str
    line: int
    """The line within the row, from 0: the index of the run."""
    colour: str
    """The name of a colour."""
    value: float
    interval: Interval | None
    size: str
    """The number of calls, as text."""


@attrs.frozen
class _Rows:
    """Rows of a chart: a name, and below it one line per run.

    Names are drawn inside the plot and not as axis labels: browsers use other fonts than the renderer, and
    axis labels that turn out wider are cut.
    """

    names: Sequence[str]
    lines: int
    sizes: Mapping[str, str]
    """By name: the text at the right of the row."""

    @property
    def height(self) -> int:
        return len(self.names) * self._row_height

    @property
    def _row_height(self) -> int:
        return _NAME + self.lines * _LINE + _BETWEEN_ROWS

    def y(self, name: str, line: int) -> float:
        """Return the middle of a line."""
        return self.names.index(name) * self._row_height + _NAME + (line + 0.5) * _LINE

    def axis(self, alt: Any, field: str = "y:Q") -> Any:
        scale = alt.Scale(domain=[0, self.height], reverse=True, nice=False, zero=False)
        return alt.Y(field, axis=None, scale=scale)

    def layer(self, alt: Any, data: Data, width: int) -> Any:
        """Return the names, and the texts at the right."""
        beside = max((len(size) for size in self.sizes.values()), default=0) * _CHARACTER
        rows = [
            {
                "y": place * self._row_height + _NAME / 2 + 2,
                "name": fitted(name, width - beside),
                "size": self.sizes.get(name, ""),
            }
            for place, name in enumerate(self.names)
        ]
        base = alt.Chart(data(rows)).encode(self.axis(alt))
        names = base.mark_text(align="left", baseline="middle", fontSize=11.5, color=INK)
        sizes = base.mark_text(align="right", baseline="middle", fontSize=10, color=QUIET)
        return names.encode(alt.Text("name:N"), x=alt.XValue(0)) + sizes.encode(
            alt.Text("size:N"), x=alt.XValue("width")
        )


def _mark_chart(
    name: str,
    title: str,
    note: str,
    marks: Sequence[_Mark],
    colour: Any,
    x_title: str,
    x: Mapping[str, Any],
) -> Chart:
    """Return a chart with one row per name: values as points, intervals as lines."""
    names = list(dict.fromkeys(mark.row for mark in marks))
    sizes: dict[str, str] = {}
    for mark in marks:
        sizes[mark.row] = f"{sizes[mark.row]}, {mark.size}" if mark.row in sizes else f"n = {mark.size}"
    rows = _Rows(names, 1 + max(mark.line for mark in marks), sizes)
    values = [
        {
            "y": rows.y(mark.row, mark.line),
            "colour": mark.colour,
            "value": mark.value,
            "low": mark.interval.low if mark.interval else mark.value,
            "high": mark.interval.high if mark.interval else mark.value,
        }
        for mark in marks
    ]

    def layers(alt: Any, data: Data, width: int) -> Any:
        base = alt.Chart(data(values)).encode(rows.axis(alt), colour(alt))
        axis = alt.Axis(
            format=x.get("format", "~g"),
            tickCount=4 if width < WIDE else 6,
            labelExpr="datum.value ? datum.label : '0'" if x.get("zero") else "datum.label",
        )
        scale = alt.Scale(domain=x["domain"]) if "domain" in x else alt.Scale(zero=False, padding=10)
        lines = base.mark_rule(strokeWidth=3, strokeCap="round", opacity=0.5).encode(
            alt.X("low:Q", title=x_title, axis=axis, scale=scale), alt.X2("high:Q")
        )
        drawn = lines + base.mark_point(filled=True, size=70, opacity=1).encode(alt.X("value:Q"))
        if x.get("zero"):
            zero = alt.Chart(data([{"zero": 0}])).mark_rule(color=QUIET).encode(alt.X("zero:Q"))
            drawn = zero + drawn
        return drawn + rows.layer(alt, data, width)

    return Chart(name, title, note, rows.height, layers)


_INTERVAL_WORDS: Final = "Lines are 95 % intervals"


def _scenario_scores(scenarios: Sequence[ScenarioSummary], runs: Sequence[Run]) -> Iterator[Chart]:
    """Draw the mean score of each scenario, the lowest first."""
    scored = [each for each in scenarios if each.measures["overall_score"].mean is not None]
    scored.sort(key=lambda each: each.measures["overall_score"].mean or 0.0)
    if len(scored) < 2:
        return
    shown = scored[:_MOST_ROWS]
    names = _unique([each.label for each in shown])
    marks = []
    for name, each in zip(names, shown, strict=True):
        measure = each.measures["overall_score"]
        mean = measure.mean or 0.0
        if abs(mean) < _LARGEST:
            marks.append(_Mark(name, 0, runs[0].word, mean, mean_interval(measure), f"{measure.n:,}"))
    hidden = f" The {len(shown)} lowest of {len(scored):,}." if len(scored) > len(shown) else ""
    yield _mark_chart(
        "scenarios",
        "Scores by scenario",
        f"Mean overall score, the lowest first. {_INTERVAL_WORDS}.{hidden}",
        marks,
        partial(_colour, runs=runs),
        "Mean overall score",
        {},
    )


def _unique(texts: Sequence[str]) -> list[str]:
    """Return short names that are unique."""
    found: list[str] = []
    for text in texts:
        name = short = label(text, 48) or "no name"
        further = 2
        while name in found:
            name, further = f"{short} ({further})", further + 1
        found.append(name)
    return found


def _scenario_differences(comparison: Comparison) -> Iterator[Chart]:
    """Draw the change of each scenario's mean score, or of its first pass rate."""
    name = _common_figure(comparison.scenarios)
    found = [(each, _difference(each, name)) for each in comparison.scenarios]
    moved = [(each, by) for each, by in found if by is not None and abs(by.difference or 0.0) < _LARGEST]
    if not moved or name is None:
        return
    moved.sort(key=lambda pair: -abs(pair[1].difference or 0.0))
    shown = sorted(moved[:_MOST_ROWS], key=lambda pair: pair[1].difference or 0.0)
    names = _unique([each.label for each, _ in shown])
    marks = [
        _Mark(
            row,
            0,
            _kind(by),
            by.difference or 0.0,
            by.interval,
            f"{by.n_before:,}, {by.n_after:,}",
        )
        for row, (_, by) in zip(names, shown, strict=True)
    ]
    kinds = {mark.colour for mark in marks}
    colours = {kind: found for kind, found in _KINDS.items() if kind in kinds}
    figure = label(shown[0][1].label, 60)
    hidden = f" The {len(shown)} largest of {len(moved):,}." if len(moved) > len(shown) else ""
    yield _mark_chart(
        "scenarios",
        "Changes by scenario",
        f"{figure.capitalize()}: after minus before. {_INTERVAL_WORDS}; grey: not significant.{hidden}",
        marks,
        partial(_colours, colours=colours),
        f"Difference of {figure}",
        {"format": "+~g", "zero": True},
    )


_KINDS: Final = {"lower": BAD, "not significant": BEFORE, "higher": GOOD}


def _common_figure(scenarios: Sequence[ScenarioComparison]) -> str | None:
    names = {
        each.name for scenario in scenarios for each in scenario.differences if each.difference is not None
    }
    if "overall_score.mean" in names:
        return "overall_score.mean"
    return min((name for name in names if name.endswith(".pass_rate")), default=None)


def _difference(scenario: ScenarioComparison, name: str | None) -> Difference | None:
    for each in scenario.differences:
        if each.name == name and each.difference is not None:
            return each
    return None


def _kind(difference: Difference) -> str:
    if not difference.beyond_chance:
        return "not significant"
    return "higher" if (difference.difference or 0.0) > 0 else "lower"


# Evaluations


@attrs.frozen
class _EvaluationRow:
    """An evaluation, and its results in each run. Evaluations of runs are matched by id, else by name."""

    name: str
    results: tuple[EvaluationSummary | None, ...]


def _evaluations(runs: Sequence[Run]) -> list[_EvaluationRow]:
    last = runs[-1].summary.evaluations
    rows: list[tuple[EvaluationSummary | None, ...]] = []
    earlier = dict(runs[0].summary.evaluations) if len(runs) > 1 else {}
    for id_, found in last.items():
        partner = earlier.pop(id_, None) or _only_named(earlier, found.name)
        if partner is not None:
            earlier.pop(partner.id, None)
        rows.append((partner, found) if len(runs) > 1 else (found,))
    rows += [(found, None) for found in earlier.values()]
    names = _unique([next(each for each in reversed(row) if each is not None).label for row in rows])
    return [_EvaluationRow(name, row) for name, row in zip(names, rows, strict=True)]


def _only_named(evaluations: Mapping[str, EvaluationSummary], name: str | None) -> EvaluationSummary | None:
    found = [each for each in evaluations.values() if name and each.name == name]
    return found[0] if len(found) == 1 else None


def _pass_rates(runs: Sequence[Run]) -> Iterator[Chart]:
    marks = []
    for evaluation in _evaluations(runs):
        for line, (run, found) in enumerate(zip(runs, evaluation.results, strict=True)):
            passed = found.passed if found else None
            if passed is not None and passed.share is not None:
                mark = _Mark(
                    evaluation.name, line, run.word, passed.share, passed.interval(), f"{passed.n:,}"
                )
                marks.append(mark)
    rows = {mark.row for mark in marks}
    if marks:
        yield _mark_chart(
            "pass-rates",
            "Evaluations passed",
            f"Share of calls that pass. {_INTERVAL_WORDS} (Wilson).{_hidden(len(rows))}",
            _first_rows(marks),
            partial(_colour, runs=runs),
            "Pass rate",
            {"format": "%", "domain": [0, 1]},
        )


def _first_rows(marks: Sequence[_Mark]) -> list[_Mark]:
    rows = list(dict.fromkeys(mark.row for mark in marks))[:_MOST_ROWS]
    return [mark for mark in marks if mark.row in rows]


def _hidden(rows: int) -> str:
    return f" The first {_MOST_ROWS} of {rows:,}." if rows > _MOST_ROWS else ""


def _evaluation_scores(runs: Sequence[Run]) -> Iterator[Chart]:
    """Draw the means of evaluations with scores, one chart per scale."""
    scales: dict[int, list[_Mark]] = {}
    for evaluation in _evaluations(runs):
        found = [
            (line, each.scores)
            for line, each in enumerate(evaluation.results)
            if each is not None and each.scores
        ]
        means = [(line, scores, scores.mean) for line, scores in found if scores.mean is not None]
        highest = max((abs(mean) for _, _, mean in means), default=math.inf)
        if not highest < _LARGEST:
            continue
        scale = max(0, math.ceil(math.log10(max(highest, 1e-9)) - 1e-9))
        for line, scores, mean in means:
            mark = _Mark(evaluation.name, line, runs[line].word, mean, mean_interval(scores), f"{scores.n:,}")
            scales.setdefault(scale, []).append(mark)
    for scale, marks in sorted(scales.items()):
        further = "" if len(scales) == 1 else f", up to {10**scale:,}"
        rows = {mark.row for mark in marks}
        yield _mark_chart(
            f"evaluation-scores-{scale}" if len(scales) > 1 else "evaluation-scores",
            f"Evaluations with scores{further}",
            f"Mean score. {_INTERVAL_WORDS}.{_hidden(len(rows))}",
            _first_rows(marks),
            partial(_colour, runs=runs),
            "Mean score",
            {"domain": [0, 1]} if scale == 0 and all(mark.value >= 0 for mark in marks) else {},
        )


def _choices(runs: Sequence[Run]) -> Iterator[Chart]:
    asked = [each for each in _evaluations(runs) if any(found and found.choices for found in each.results)]
    for place, each in enumerate(asked[:_MOST_CHOICES_CHARTS], 1):
        words: dict[str, int] = {}
        for found in each.results:
            for word, share in (found.choices if found else {}).items():
                words[word] = words.get(word, 0) + share.count
        most = sorted(words, key=lambda word: (-words[word], word))[:_MOST_WORDS]
        shares = [
            {word: found.choices.get(word, Share(0, found.n)) for word in most} if found else {}
            for found in each.results
        ]
        sizes = [found.n if found else 0 for found in each.results]
        hidden = f" The {len(most)} most frequent of {len(words):,}." if len(words) > len(most) else ""
        yield _share_chart(
            f"choices-{place}",
            each.name,
            f"Share of calls by choice. {_sizes(runs, sizes)}.{hidden}",
            most,
            shares,
            runs,
        )


def _share_chart(
    name: str,
    title: str,
    note: str,
    words: Sequence[str],
    shares: Sequence[Mapping[str, Share]],
    runs: Sequence[Run],
) -> Chart:
    """Return a bar chart with one row per value."""
    names = _unique(words)
    of_word = [[found[word].count if word in found else 0 for found in shares] for word in words]
    sizes = {
        name: ", ".join(f"{calls:,}" for calls in found) for name, found in zip(names, of_word, strict=True)
    }
    rows = _Rows(names, len(runs), sizes)
    bars = [
        {
            "top": rows.y(row, line) - _BAR / 2,
            "bottom": rows.y(row, line) + _BAR / 2,
            "colour": run.word,
            "share": found[word].share or 0.0,
            "zero": 0,
        }
        for line, (run, found) in enumerate(zip(runs, shares, strict=True))
        for row, word in zip(names, words, strict=True)
        if word in found
    ]

    def layers(alt: Any, data: Data, width: int) -> Any:
        x = alt.X("share:Q", title=None, axis=alt.Axis(format="%", tickCount=4), scale=alt.Scale(zero=True))
        drawn = (
            alt.Chart(data(bars))
            .mark_rect()
            .encode(rows.axis(alt, "top:Q"), alt.Y2("bottom:Q"), x, alt.X2("zero:Q"), _colour(alt, runs))
        )
        return drawn + rows.layer(alt, data, width)

    return Chart(name, title, note, rows.height, layers)


_BAR: Final = 11  # pixels of a line


# Latencies


def _latencies(runs: Sequence[Run]) -> Iterator[Chart]:
    for name, title in LATENCIES.items():
        measures = [run.summary.measures[name] for run in runs]
        factor = 0.001 if name == "avg_latency_ms" else 1.0
        rows = []
        for run, measure in zip(runs, measures, strict=True):
            values = _finite(measure.values) * factor
            if len(values):
                found = np.percentile(values, _PERCENTILES).tolist()
                rows += [
                    {"colour": run.word, "percentile": place, "seconds": seconds}
                    for place, seconds in zip(_PERCENTILES, found, strict=True)
                ]
        if rows:
            yield _percentile_chart(name, title, rows, runs, [measure.n for measure in measures])


def _percentile_chart(
    name: str, title: str, rows: Sequence[Mapping[str, Any]], runs: Sequence[Run], sizes: Sequence[int]
) -> Chart:
    def layers(alt: Any, data: Data, _: int) -> Any:
        ticks = alt.Axis(values=[1, 25, 50, 75, 95], labelExpr="'p' + datum.value", grid=False)
        x = alt.X("percentile:Q", title=None, axis=ticks, scale=alt.Scale(domain=[0, 104], nice=False))
        y = alt.Y("seconds:Q", title="Seconds", axis=alt.Axis(tickCount=4))
        drawn = alt.Chart(data(rows)).encode(x, y, _colour(alt, runs))
        drawn = alt.layer(drawn.mark_line(strokeWidth=2.5, interpolate="monotone"))
        for place, run in enumerate(runs):
            named = [
                {**row, "words": number(row["seconds"], "s")}
                for row in rows
                if row["colour"] == run.word and row["percentile"] in (50, 95)
            ]
            points = alt.Chart(data(named)).encode(x, y, _colour(alt, runs))
            # with two runs, the labels of the earlier run are below its line, those of the later one above
            above = place == len(runs) - 1
            words = points.mark_text(
                align="right" if above else "center",
                dx=-7 if above else 0,
                dy=-9 if above else 15,
                fontWeight="bold",
            )
            drawn += points.mark_point(filled=True, size=60, opacity=1) + words.encode(alt.Text("words:N"))
        return drawn

    note = f"50 % of the calls are below p50, 95 % below p95. {_sizes(runs, sizes)}."
    return Chart(f"latency-{name.replace('_', '-')}", title, note, 190, layers)


# Status


def _status_over_time(runs: Sequence[Run]) -> Iterator[Chart]:
    days: dict[date, dict[str, int]] = {}
    for run in runs:
        for day, words in run.summary.days.items():
            for word, calls in words.items():
                days.setdefault(day, {})[word] = days.get(day, {}).get(word, 0) + calls
    if len(days) < 2:
        return
    period, spans = _periods(sorted(days))
    counts: dict[tuple[date, str], int] = {}
    for day, words in days.items():
        start = spans[day]
        for word, calls in words.items():
            counts[start, word] = counts.get((start, word), 0) + calls
    words_found = sorted({word for _, word in counts}, key=lambda word: (_status_place(word), word))
    known = words_found[:_MOST_WORDS]
    rows = [
        {"day": day.isoformat(), "colour": _short(word), "calls": calls, "place": known.index(word)}
        for (day, word), calls in sorted(counts.items())
        if word in known
    ]
    colours = {_short(word): STATUS_COLOURS.get(word, BEFORE) for word in known}
    starts = sorted({str(row["day"]) for row in rows})

    def layers(alt: Any, data: Data, width: int) -> Any:
        most = 5 if width < WIDE else 9
        step = -(-len(starts) // most)
        axis = alt.Axis(values=starts[::step], labelAngle=0, grid=False, labelExpr="slice(datum.value, 5)")
        return (
            alt.Chart(data(rows))
            .mark_bar()
            .encode(
                alt.X("day:N", sort=starts, title=None, axis=axis, scale=alt.Scale(paddingInner=0.15)),
                alt.Y("calls:Q", title="Calls", axis=alt.Axis(tickCount=4)),
                _colours(alt, colours),
                order=alt.Order("place:Q"),
            )
        )

    both = " of both runs" if len(runs) > 1 else ""
    note = f"Calls{both} by {period} (UTC) and status, from {starts[0]} to {max(days).isoformat()}."
    yield Chart("status", "Status over time", note, 190, layers)


def _short(word: str) -> str:
    return fitted(label(word, 40), 90)


def _status_place(word: str) -> int:
    known = list(STATUS_COLOURS)
    return known.index(word) if word in known else len(known)


def _periods(days: Sequence[date]) -> tuple[str, dict[date, date]]:
    """Return the period (day, week or month) that gives few enough bars, and the period of each day."""
    span = (days[-1] - days[0]).days
    if span < _MOST_BARS:
        return "day", {day: day for day in days}
    if span < 7 * _MOST_BARS:
        return "week", {day: day - timedelta(days=day.weekday()) for day in days}
    return "month", {day: day.replace(day=1) for day in days}


def _ended_reasons(runs: Sequence[Run]) -> Iterator[Chart]:
    counts = [run.summary.counts["ended_reason"] for run in runs]
    words: dict[str, int] = {}
    for found in counts:
        for word, calls in found.words.items():
            words[word] = words.get(word, 0) + calls
    if len(words) < 2:
        return
    most = sorted(words, key=lambda word: (-words[word], word))[:_MOST_WORDS]
    hidden = f" The {len(most)} most frequent of {len(words):,}." if len(words) > len(most) else ""
    shares = [{word: found.of(word) for word in most} for found in counts]
    note = f"Share and number of calls. {_sizes(runs, [found.n for found in counts])}.{hidden}"
    yield _share_chart("ended-reasons", "Why calls ended", note, most, shares, runs)


def colours_in_the_dark() -> str:
    """Return style rules that replace the colours by their dark ones."""
    rules = [
        f'svg [{kind}="{light}"]{{{kind}:{dark}}}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    ]
    return "".join(rules)
