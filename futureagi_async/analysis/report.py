"""`write_report`: an HTML page on calls or on a comparison of two runs, in one file without dependencies."""

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import attrs

from futureagi_async.analysis import texts
from futureagi_async.analysis.measures import MEASURES
from futureagi_async.analysis.summarising import check_installed
from futureagi_async.analysis.values import (
    CallFigures,
    CallToLookAt,
    Comparison,
    Difference,
    ReadVerdict,
    Summary,
)
from futureagi_async.errors import DecodingError, ExportError
from futureagi_async.export.files import export_errors, replace_file
from futureagi_async.export.target_names import check_local
from futureagi_async.models import CallExecution, EvalOutput, TranscriptTurn
from futureagi_async.options import brief, check_kind

if TYPE_CHECKING:
    from futureagi_async.analysis.charts import Chart

_NEEDED: Final = {"altair": "altair>=5.4", "vl_convert": "vl-convert-python>=1.7", "jinja2": "jinja2>=3.1"}
_FOLDER: Final = Path(__file__).parent / "page"

_MOST_CALLS: Final = 60
_MOST_TURNS: Final = 400
_LONGEST_TURN: Final = 4_000
_LONGEST_REASON: Final = 600
_MOST_TRANSCRIPT_CHARACTERS: Final = 1_500_000
"""Over all calls. A page of some megabytes still loads fast."""
_MOST_EVALUATIONS: Final = 40
_MOST_FIGURES: Final = 400
_MOST_ROWS: Final = 100
_MOST_FINDINGS: Final = 8
_MOST_REASONS: Final = 20
PNG_SCALE: Final = 3.0
"""Pixels of the image per pixel of the chart, for sharp slides."""


def check_report_installed() -> None:
    """Raise `ModuleNotFoundError` with the command that installs what a report needs."""
    check_installed()
    missing = [line for name, line in _NEEDED.items() if find_spec(name) is None]
    if missing:
        lines = " ".join(f"'{line}'" for line in missing)
        raise ModuleNotFoundError(f"A report needs more libraries (the extra [report]): pip install {lines}")


def write_report(
    path: str | os.PathLike[str],
    data: Summary | Comparison,
    *,
    calls: Iterable[CallExecution] | str | os.PathLike[str] = (),
    title: str | None = None,
    png: str | os.PathLike[str] | None = None,
    now: datetime | None = None,
) -> None:
    """Write an HTML page with charts on calls, or on a comparison of two runs: one file, for any browser.

    The page loads nothing: it contains all scripts, styles and images, and its security policy forbids other
    ones. It works on phones, in dark mode and on paper. Text from models and customers is escaped, and cut if
    it is too long. If a read was incomplete, the page says so at the top.

    Args:
        path: The file. An existing file is replaced when the new one is complete.
        data: The result of `summarise` or `compare`.
        calls: Details of the calls from `calls_in_report`, or the directory of their export. The page then
            has their transcripts, the reasons of evaluations and links to recordings, folded by default.
            Other calls are ignored.
        title: The heading. Default: the labels of the data.
        png: A directory for one image per chart, for slides. It is created if it does not exist.
        now: The time that the page shows as its creation time. Default: the current time.

    Raises `ExportError` if a file can't be written, `TypeError` for other data, and `ModuleNotFoundError`
    without altair, vl-convert and Jinja.

    """
    if not isinstance(data, Summary | Comparison):
        raise TypeError(f"data must be a Summary or a Comparison, not {brief(data)}.")
    target, folder = _local_path("path", path), None if png is None else _local_path("png", png)
    if title is not None:
        check_kind("title", title, str)
    check_report_installed()
    from futureagi_async.analysis.charts import charts_of

    charts = list(charts_of(data))
    details = _details(calls, data)
    page = render_page(data, charts, details, title, now or datetime.now(UTC))
    _replace(target, page.encode())
    if folder is not None:
        _write_images(folder, charts)


def calls_in_report(data: Summary | Comparison) -> tuple[CallToLookAt, ...]:
    """Return the calls that a report shows, whose details `write_report` can use."""
    found = data.calls_to_look_at if isinstance(data, Comparison) else data.low_scores(20)
    return tuple({each.call_id: each for each in reversed(found)}.values())[::-1][:_MOST_CALLS]


def _details(
    calls: Iterable[CallExecution] | str | os.PathLike[str], data: Summary | Comparison
) -> Mapping[str, CallExecution]:
    if isinstance(calls, str | os.PathLike):
        from futureagi_async.analysis.details import find_calls

        return find_calls(_local_path("calls", calls), [each.call_id for each in calls_in_report(data)])
    if not isinstance(calls, Iterable):
        raise TypeError(f"calls must be calls, or an export's directory, not {brief(calls)}.")
    found = {}
    for call in calls:
        if not isinstance(call, CallExecution):
            raise TypeError(f"A call is a CallExecution, not {type(call).__name__}.")
        found[call.id] = call
    return found


def _local_path(name: str, path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a path, not {brief(path)}.")
    if not text:
        raise ValueError(f"{name} must not be empty.")
    check_local(name, text)
    return Path(text)


def _replace(target: Path, data: bytes) -> None:
    with export_errors(target):
        descriptor, name = mkstemp(prefix=f".{target.name}.", dir=target.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            temporary.chmod(0o644)
            replace_file(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _write_images(folder: Path, charts: "Sequence[Chart]") -> None:
    import vl_convert

    from futureagi_async.analysis.charts import PAPER, WIDE

    with export_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            raise ExportError(f"Can't write {folder}: it is not a directory.")
    for chart in charts:
        spec = chart.spec(WIDE) | {
            "background": PAPER,
            "title": {"text": chart.title, "anchor": "start", "fontSize": 15, "offset": 10},
            "padding": 20,
        }
        _replace(folder / f"{chart.name}.png", vl_convert.vegalite_to_png(spec, scale=PNG_SCALE))


# The page


def render_page(
    data: Summary | Comparison,
    charts: "Sequence[Chart]",
    details: Mapping[str, CallExecution],
    title: str | None,
    now: datetime,
) -> str:
    """Return the HTML of the page."""
    import jinja2
    from markupsafe import Markup

    from futureagi_async.analysis.charts import NARROW, WIDE, colours_in_the_dark, runs_of

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": texts.number, "percent": texts.percent}
    style = (
        (_FOLDER / "report.css").read_text(encoding="utf-8").replace("/* charts */", colours_in_the_dark())
    )
    runs = runs_of(data)
    return environment.get_template("report.html").render(
        title=texts.label(title, 200) if title else " against ".join(run.name for run in reversed(runs)),
        style=Markup(style),  # noqa: S704 - our own
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        made=f"{now.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        runs=[_RunOnPage.of(run.name, run.summary) for run in runs],
        is_comparison=isinstance(data, Comparison),
        tiles=_tiles(data),
        findings=_findings(data),
        charts=[
            {
                "name": chart.name,
                "title": chart.title,
                "note": chart.note,
                "wide": Markup(_svg(chart, WIDE)),  # noqa: S704 - vl-convert escapes what it draws
                "narrow": Markup(_svg(chart, NARROW)),  # noqa: S704
            }
            for chart in charts
        ],
        calls=_calls(data, details),
        differences=_difference_rows(data),
        scenarios=_scenario_rows(data),
        measures=_measure_rows(data),
        evaluations=_evaluation_rows(data),
        notes=_notes(data),
    )


def _svg(chart: "Chart", width: int) -> str:
    import vl_convert

    drawn: str = vl_convert.vegalite_to_svg(chart.spec(width))
    return drawn.removeprefix('<?xml version="1.0" encoding="utf-8"?>')


@attrs.frozen
class _RunOnPage:
    """A run in the header of the page."""

    name: str
    calls: str
    completeness: str
    as_of: str | None
    reasons: Sequence[str]

    @classmethod
    def of(cls, name: str, summary: Summary) -> "_RunOnPage":
        verdict: ReadVerdict = summary.verdict
        moment = verdict.complete_as_of
        scenarios = sum(bool(each.id or each.name) for each in summary.scenarios)
        return cls(
            name,
            f"{texts.quantity(summary.calls, 'call')}, {texts.quantity(scenarios, 'scenario')}",
            verdict.completeness,
            None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            [texts.shown(reason, 500) for reason in verdict.reasons[:_MOST_REASONS]],
        )


@attrs.frozen
class _Tile:
    """One of the large figures at the top."""

    label: str
    value: str
    note: str
    change: str = ""
    kind: str = ""
    """``good``, ``bad``, ``even`` or ``moved``: the meaning of a change; empty if there is none."""


_LOWER_IS_BETTER: Final = (
    "response_time",
    "avg_agent_latency",
    "avg_latency_ms",
    "avg_stop_time_after_interruption",
)


def _is_good(difference: Difference) -> bool | None:
    """Whether a change is an improvement; ``None`` if that is unknown."""
    rises = (difference.difference or 0.0) > 0
    measure, _, _ = difference.name.partition(".")
    if measure in ("overall_score", "csat_score") or difference.name.endswith(".pass_rate"):
        return rises
    if measure in _LOWER_IS_BETTER or difference.name == "status.failed.share":
        return not rises
    return rises if difference.name == "status.completed.share" else None


def _tiles(data: Summary | Comparison) -> list[_Tile]:
    summary = data if isinstance(data, Summary) else data.after
    tiles = [_calls_tile(data), *_status_tiles(data, summary)]
    for name, title, unit in (
        ("overall_score", "Mean score", ""),
        ("response_time", "Median response", "s"),
        ("avg_latency_ms", "Median chat latency", "ms"),
    ):
        measure = summary.measures[name]
        kind = "mean" if unit == "" else "median"
        if measure.n:
            tiles.append(_figure_tile(data, f"{name}.{kind}", title, getattr(measure, kind), measure.n, unit))
    rated = [each for each in summary.evaluations.values() if each.passed is not None and each.passed.n]
    worst = sorted(rated, key=lambda each: each.pass_rate or 0.0)[:1]
    for each in worst:
        found = _find(data, each.id, ".pass_rate")
        name = texts.label(each.label, 40)
        title = f"{name}, passed" if len(rated) == 1 else f"Lowest pass rate: {name}"
        assert each.passed is not None
        tiles.append(_share_tile(title, each.pass_rate, each.passed.n, found))
    pending = sum(each.pending for each in summary.evaluations.values())
    if pending:
        tiles.append(
            _Tile("Evaluations pending", f"{pending:,}", "their results are not in any figure", "", "warn")
        )
    return tiles


def _calls_tile(data: Summary | Comparison) -> _Tile:
    if isinstance(data, Summary):
        return _Tile("Calls", f"{data.calls:,}", f"in {texts.quantity(len(data.scenarios), 'scenario')}")
    pairs = f", {texts.quantity(data.pairs, 'pair')}" if data.pairs else ""
    return _Tile("Calls", f"{data.after.calls:,}", f"before {data.before.calls:,}{pairs}")


def _status_tiles(data: Summary | Comparison, summary: Summary) -> list[_Tile]:
    completed = summary.counts["status"].of("completed")
    if not completed.n:
        return []
    failed = summary.counts["status"].of("failed").count
    found = None if isinstance(data, Summary) else data.difference("status.completed.share")
    tile = _share_tile("Completed", completed.share, completed.n, found)
    return [attrs.evolve(tile, note=f"{tile.note}, {failed:,} failed")]


def _find(data: Summary | Comparison, evaluation_id: str, ending: str) -> Difference | None:
    if isinstance(data, Summary):
        return None
    for each in data.differences:
        if each.evaluation_id == evaluation_id and each.name.endswith(ending):
            return each
    return None


def _figure_tile(
    data: Summary | Comparison, name: str, title: str, value: float | None, n: int, unit: str
) -> _Tile:
    found = None if isinstance(data, Summary) else data.difference(name)
    note = f"n = {n:,}"
    if found is None or found.difference is None:
        return _Tile(title, texts.number(value, unit), note)
    note = f"before {texts.number(found.before, unit)}, n = {found.n_before:,} and {found.n_after:,}"
    change = texts.number(found.difference, unit, signed=True)
    return _Tile(title, texts.number(value, unit), note, change, _kind_of(found))


def _share_tile(title: str, share: float | None, n: int, found: Difference | None) -> _Tile:
    if found is None or found.difference is None:
        return _Tile(title, texts.percent(share), f"n = {n:,}")
    note = f"before {texts.percent(found.before)}, n = {found.n_before:,} and {found.n_after:,}"
    return _Tile(
        title, texts.percent(share), note, texts.percent(found.difference, signed=True), _kind_of(found)
    )


def _kind_of(difference: Difference) -> str:
    if not difference.beyond_chance:
        return "even"
    good = _is_good(difference)
    return "moved" if good is None else "good" if good else "bad"


@attrs.frozen
class _Row:
    """A difference as a row of a table."""

    label: str
    before: str
    after: str
    n: str
    change: str
    interval: str
    kind: str


def _row(each: Difference) -> _Row:
    is_share = each.kind == "share"

    def written(value: float | None, *, signed: bool = False) -> str:
        return (
            texts.percent(value, signed=signed) if is_share else texts.number(value, each.unit, signed=signed)
        )

    interval = texts.NONE
    if each.interval is not None:
        low, high = each.interval.low, each.interval.high
        plain = [
            texts.percent(end, signed=True).partition("\u202f")[0]
            if is_share
            else texts.number(end, signed=True)
            for end in (low, high)
        ]
        interval = f"{plain[0]} to {plain[1]}"
    name = texts.label(each.label, 100)
    return _Row(
        name[:1].upper() + name[1:],
        written(each.before),
        written(each.after),
        f"{each.n_before:,} / {each.n_after:,}",
        written(each.difference, signed=True),
        interval,
        _kind_of(each),
    )


def _findings(data: Summary | Comparison) -> Mapping[str, Any]:
    """Return the main results: the figures that differ significantly."""
    if isinstance(data, Summary):
        return {"sentence": "", "rows": []}
    tested = [each for each in data.differences if each.interval is not None]
    beyond = [each for each in tested if each.beyond_chance]
    means = {each.name.removesuffix("mean") for each in beyond if each.kind == "mean"}
    told = [each for each in beyond if each.kind != "median" or each.name.removesuffix("median") not in means]
    told.sort(key=lambda each: (_is_good(each) is None, each.kind == "median", each.p_value or 0.0))
    some = f"{len(beyond):,} of {texts.quantity(len(tested), 'figure')} differ significantly"
    sentence = some if beyond else f"None of {texts.quantity(len(tested), 'figure')} differs significantly"
    if len(told) < len(beyond):
        sentence += "; medians that changed with their means are only in the table below"
    return {"sentence": f"{sentence}.", "rows": [_row(each) for each in told[:_MOST_FINDINGS]]}


def _difference_rows(data: Summary | Comparison) -> Mapping[str, Any]:
    if isinstance(data, Summary):
        return {"rows": [], "hidden": 0}
    ordered = sorted(data.differences, key=lambda each: not each.beyond_chance)
    return {
        "rows": [_row(each) for each in ordered[:_MOST_FIGURES]],
        "hidden": max(0, len(ordered) - _MOST_FIGURES),
    }


def _scenario_rows(data: Summary | Comparison) -> Mapping[str, Any]:
    """Return one row per scenario. For a comparison: scenarios of the later run, with their change."""
    summary = data if isinstance(data, Summary) else data.after
    moved: dict[tuple[str | None, str | None], Difference] = {}
    if isinstance(data, Comparison):
        for scenario in data.scenarios:
            for each in scenario.differences:
                if each.name == "overall_score.mean" and each.difference is not None:
                    moved[scenario.id, scenario.name] = each
    rows = [
        {
            "label": texts.label(each.label, 100),
            "calls": f"{each.calls:,}",
            "failed": f"{each.counts['status'].of('failed').count:,}",
            "score": texts.number(each.measures["overall_score"].mean),
            "n": f"{each.measures['overall_score'].n:,}",
            "response": texts.number(each.measures["response_time"].median, "s"),
            "passes": _passes(each),
            "change": _row(moved[each.id, each.name]) if (each.id, each.name) in moved else None,
        }
        for each in summary.scenarios
    ]
    return {"rows": rows[:_MOST_ROWS], "hidden": max(0, len(rows) - _MOST_ROWS)}


def _passes(figures: CallFigures) -> str:
    """Return the share of passed results over all pass/fail evaluations."""
    shares = [each.passed for each in figures.evaluations.values() if each.passed is not None]
    asked = sum(share.n for share in shares)
    return (
        f"{texts.percent(sum(share.count for share in shares) / asked)} of {asked:,}" if asked else texts.NONE
    )


def _measure_rows(data: Summary | Comparison) -> list[Mapping[str, Any]]:
    runs = [data] if isinstance(data, Summary) else [data.before, data.after]
    rows: list[Mapping[str, Any]] = []
    for name, unit in MEASURES.items():
        for place, summary in enumerate(runs):
            measure = summary.measures[name]
            if any(run.measures[name].n for run in runs):
                figures = (measure.mean, measure.p5, measure.median, measure.p95)
                rows.append(
                    {
                        "label": name.replace("_", " ").capitalize() if place == 0 else "",
                        "run": ("before", "after")[place] if len(runs) > 1 else "",
                        "n": f"{measure.n:,}",
                        "missing": f"{measure.missing:,}",
                        "figures": [texts.number(value, unit) for value in figures],
                    }
                )
    return rows


def _evaluation_rows(data: Summary | Comparison) -> Mapping[str, Any]:
    summary = data if isinstance(data, Summary) else data.after
    found = list(summary.evaluations.values())
    rows = [
        {
            "label": texts.label(each.label, 100),
            "id": texts.label(each.id, 60),
            "result": _result(each),
            "counts": [
                f"{number:,}" for number in (each.n, each.pending, each.skipped, each.failed, each.unreadable)
            ],
        }
        for each in found
    ]
    return {"rows": rows[:_MOST_ROWS], "hidden": max(0, len(rows) - _MOST_ROWS)}


def _result(each: Any) -> str:
    parts = []
    if each.passed is not None:
        parts.append(f"{texts.percent(each.pass_rate)} passed")
    if each.scores is not None:
        parts.append(f"mean {texts.number(each.scores.mean)}")
    parts += [
        f"{texts.label(word, 30)} {texts.percent(share.share)}"
        for word, share in list(each.choices.items())[:4]
    ]
    return ", ".join(parts) or "no result"


def _notes(data: Summary | Comparison) -> list[str]:
    """Return notes on the figures: what was left out, and what could not be compared."""
    runs = [data] if isinstance(data, Summary) else [data.before, data.after]
    notes = []
    for summary, word in zip(runs, ("before", "after") if len(runs) > 1 else ("",), strict=True):
        prefix = f"{word.capitalize()}: " if word else ""
        if summary.snapshots:
            notes.append(
                f"{prefix}{texts.quantity(summary.snapshots, 'rerun snapshot')} left out of all figures."
            )
        if summary.duplicates:
            notes.append(
                f"{prefix}{texts.quantity(summary.duplicates, 'duplicate')} from several lists counted once."
            )
    if isinstance(data, Comparison):
        notes += [texts.shown(each, 300) for each in data.unmatched[:_MOST_REASONS]]
    return notes


# Calls to look at


def _calls(data: Summary | Comparison, details: Mapping[str, CallExecution]) -> list[Mapping[str, Any]]:
    budget = _Budget(_MOST_TRANSCRIPT_CHARACTERS)
    return [
        {
            "id": texts.label(each.call_id, 80),
            "reason": each.reason,
            "scenario": texts.label(each.scenario, 100) or "no scenario",
            "score": texts.number(each.score),
            "evaluations": [texts.label(name, 60) for name in each.evaluations[:_MOST_EVALUATIONS]],
            "before_id": None if each.before_call_id is None else texts.label(each.before_call_id, 80),
            "detail": _detail(details[each.call_id], budget) if each.call_id in details else None,
        }
        for each in calls_in_report(data)
    ]


@attrs.define
class _Budget:
    """How many characters of transcripts still fit on the page."""

    left: int

    def take(self, text: str) -> str:
        """Return the text, cut if there is no room for more."""
        found = texts.shown(text, min(_LONGEST_TURN, max(0, self.left)))
        self.left -= len(found)
        return found


def _detail(call: CallExecution, budget: _Budget) -> Mapping[str, Any]:
    turns = _readable(lambda: call.transcript or (), ())
    return {
        "facts": [
            (name, texts.shown(value, _LONGEST_REASON))
            for name, value in (
                ("Status", call.status),
                ("Duration", None if call.duration is None else texts.number(call.duration, "s")),
                ("Ended", call.ended_reason),
                ("Summary", call.call_summary),
            )
            if value
        ],
        "links": [
            (name, url) for name, url in _readable(lambda: call.recording_urls, {}).items() if _is_link(url)
        ],
        "evaluations": [
            _evaluation(each)
            for each in list(_readable(lambda: call.eval_outputs or {}, {}).values())[:_MOST_EVALUATIONS]
        ],
        "turns": [_turn(turn, budget) for turn in turns[:_MOST_TURNS] if budget.left > 0],
        "hidden_turns": max(0, len(turns) - _MOST_TURNS) if budget.left > 0 else len(turns),
    }


def _readable(read: Callable[[], Any], otherwise: Any) -> Any:
    """Return a nested part of a record, or ``otherwise`` if it has a wrong shape."""
    try:
        return read()
    except DecodingError:
        return otherwise


def _is_link(url: str) -> bool:
    """Whether a URL is safe to link: only http and https, no scripts or files."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return (
        parts.scheme in ("https", "http") and bool(parts.netloc) and len(url) <= 4_000 and url.isprintable()
    )


def _evaluation(each: EvalOutput) -> Mapping[str, str]:
    value = ", ".join(each.choices) if each.choices else each.value
    if each.pending:
        result = "pending"
    elif each.skipped:
        result = "skipped"
    elif each.error:
        result = "failed to run"
    else:
        result = (
            texts.number(value)
            if isinstance(value, int | float) and not isinstance(value, bool)
            else str(value)
        )
    return {
        "name": texts.label(each.name or each.id, 80),
        "result": texts.label(result, 80),
        "reason": texts.shown(each.reason or "", _LONGEST_REASON),
    }


def _turn(turn: TranscriptTurn, budget: _Budget) -> Mapping[str, str]:
    role = texts.label(turn.role or "unknown", 30)
    when = "" if turn.start_seconds is None else _clock(turn.start_seconds)
    side = "user" if role == "user" else "assistant" if role in ("assistant", "agent", "bot") else "other"
    return {"role": role, "side": side, "when": when, "said": budget.take(turn.content or "")}


def _clock(seconds: float) -> str:
    if not 0 <= seconds < 360_000:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"
