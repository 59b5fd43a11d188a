"""The report's page, taken apart: what is on it, what is not, and what it does with hostile text."""

import base64
import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from futureagi_async import CallExecution, ExportError, RunTestCalls, TranscriptTurn
from futureagi_async.analysis import (
    Comparison,
    Summary,
    calls_in_report,
    compare,
    report,
    summarise,
    write_report,
)
from futureagi_async.export import export_calls
from futureagi_async.testing import StandInServer
from tests.support.reports import (
    HOSTILE,
    LONG_WORD,
    REASON,
    SAID,
    Page,
    hostile_calls,
    make_calls,
)
from tests.support.sessions import open_session
from tests.support.slow import slow

NOW = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Compare calls with worse ones."""
    before, after = make_calls(200), make_calls(200, seed=2, worse=1.0, first_day=12)
    return compare(summarise(before, label="Support bot v3"), summarise(after, label="Support bot v4"))


@pytest.fixture(scope="module")
def hostile() -> Comparison:
    """Compare hostile calls with hostile ones."""
    return compare(
        summarise(hostile_calls(), label=HOSTILE[0]), summarise(hostile_calls(seed=2), label=HOSTILE[2])
    )


def written(folder: Path, data: Summary | Comparison, **options: Any) -> str:
    """Write a report, and return its HTML."""
    write_report(folder / "report.html", data, now=NOW, **options)
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["report.html"]
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, comparison: Comparison) -> str:
    """Write the page of a comparison with the transcripts of its calls."""
    folder = tmp_path_factory.mktemp("compared")
    return written(folder, comparison, calls=make_calls(200, seed=2, worse=1.0))


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory, hostile: Comparison) -> str:
    """Write the page of a hostile comparison with the transcripts of its calls."""
    folder = tmp_path_factory.mktemp("hostile")
    return written(folder, hostile, calls=hostile_calls(seed=2), title=HOSTILE[1])


def charts_in(page: Page) -> list[str | None]:
    """Return the names of the charts."""
    return [each["id"] for each in page.all("figure")]


def test_a_comparison_has_all_that_differs(comparison: Comparison, compared: str) -> None:
    """Every figure with its n and its interval, the charts, and the calls to look at."""
    page = Page(compared)
    assert "Support bot v4 against Support bot v3" in page.text
    assert "Made 2026-11-28 09:30 UTC" in page.text
    beyond = [each for each in comparison.differences if each.beyond_chance]
    assert beyond
    assert f"{len(beyond)} of " in page.text
    for each in comparison.differences:
        assert each.label.lower() in page.text.lower()
        assert f"{each.n_before:,} / {each.n_after:,}" in page.text
    assert charts_in(page) == [
        *("scores", "scenarios", "pass-rates", "evaluation-scores", "choices-1"),
        *("latency-response-time", "status", "ended-reasons"),
    ]
    assert len(page.all("svg")) == 2 * len(page.all("figure"))
    for each in calls_in_report(comparison):
        assert each.call_id in page.text


def test_a_summary_has_its_figures(tmp_path: Path, comparison: Comparison) -> None:
    """Means, shares and percentiles with their n; what is missing is a dash."""
    summary = comparison.after
    page = Page(written(tmp_path, summary))
    score = summary.measures["overall_score"]
    assert f"{score.mean:.2f}".rstrip("0") in page.text
    assert f"n = {score.n}" in page.text
    assert "completeness unknown" in page.text
    for each in summary.scenarios:
        assert each.label in page.text
    assert "before" not in page.text.lower().split()
    assert "scenarios" in charts_in(page)
    assert [each.call_id for each in calls_in_report(summary)] == [
        each.call_id for each in summary.low_scores(20)
    ]


def test_a_read_that_is_incomplete_is_said_at_the_top(tmp_path: Path) -> None:
    """Before any figure, and with its reasons."""
    import attrs

    from futureagi_async.analysis import ReadVerdict

    summary = summarise([])
    verdict = ReadVerdict("incomplete", ("run test 1: page 3 failed <b>",))
    html = written(tmp_path, attrs.evolve(summary, verdict=verdict))
    assert html.index("Some calls are missing") < html.index('class="tiles"')
    assert "page 3 failed &lt;b&gt;" in html
    complete = ReadVerdict("complete", (), NOW)
    html = written(tmp_path, attrs.evolve(summary, verdict=complete))
    assert "Some calls are missing" not in html
    assert "complete</span> as of 2026-11-28 09:30 UTC" in html


def test_calls_open_into_their_transcripts(comparison: Comparison, compared: str) -> None:
    """With reasons, and links to recordings that are followed by a click alone."""
    page = Page(compared)
    shown = calls_in_report(comparison)
    assert compared.count('<ol class="transcript">') == len(shown)
    for said in SAID:
        assert compared.count(said.replace("'", "&#39;")) == len(shown)
    assert REASON in page.text
    links = page.all("a")
    assert len(links) == len(shown)
    assert {link["rel"] for link in links} == {"noopener noreferrer nofollow"}
    assert all(str(link["href"]).startswith("https://recordings.example.com/") for link in links)
    assert "were not read" not in page.text


@pytest.mark.slow
def test_nothing_leaves_the_page(compared: str, hostile_page: str) -> None:
    """No script, no address but links, and a policy that would forbid all else, with the style's hash."""
    for html in (compared, hostile_page):
        page = Page(html)
        tags = {tag for tag, _ in page.elements}
        assert not tags & {
            "script",
            "img",
            "iframe",
            "object",
            "embed",
            "link",
            "base",
            "form",
            "audio",
            "image",
        }
        for tag, attributes in page.elements:
            for name, value in attributes.items():
                assert not name.startswith("on"), (tag, name)
                assert name not in ("src", "srcset", "style", "xlink:href", "data", "action"), (tag, name)
                if name == "href":
                    assert tag == "a"
                    assert re.match(r"https?://[^/]", value or "")
        (policy,) = [each["content"] for each in page.all("meta") if "http-equiv" in each]
        style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
        assert style is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        assert (
            policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        )
        assert "url(" not in style[1]
        assert "@import" not in style[1]
        assert html.count("<style") == 1


def test_hostile_text_is_text(hostile_page: str) -> None:
    """It is escaped, cut where it is long, and can't turn the text around it; nothing of it is a link."""
    html = hostile_page
    page = Page(html)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "49" not in re.findall(r"\{\{.*?\}\}|\b49\b(?=\{%)", html)
    assert "{{ 7 * 7 }}" in html
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html.replace("\r", "")
    )
    assert "=cmd|" in page.text
    assert "\ufffdevil\ufffd" in page.text
    assert "more characters)" in page.text
    assert max(map(len, page.text.split())) < 5_000
    assert not page.all("a")
    assert list(page.all("h1")) == [{}]


@pytest.mark.slow
def test_the_page_stays_small(tmp_path: Path) -> None:
    """However much was said, asked and answered: under 5 MB, and what is left out is said."""
    calls = hostile_calls() * 1
    for call in calls:
        call.transcript = tuple(TranscriptTurn("user", LONG_WORD, turn, turn) for turn in range(1_000))
        call.eval_outputs = {
            f"e{number}": output
            for number in range(300)
            for output in [*(call.eval_outputs or {}).values()][:1]
        }
    html = written(tmp_path, summarise(calls), calls=calls)
    assert len(html.encode()) < 5_000_000
    assert "more turns are not on this page" in html


@pytest.mark.slow
def test_hundreds_of_names_are_cut_to_the_first(tmp_path: Path) -> None:
    """Scenarios, reasons and choices have no bounds; tables and charts have."""
    calls = make_calls(600)
    for place, call in enumerate(calls):
        call.scenario = CallExecution(id="x", scenario=None).scenario
        call.scenario_id = f"scenario {place % 300}"
        call.ended_reason = f"reason {place}"
    html = written(tmp_path, summarise(calls))
    assert len(html.encode()) < 1_000_000
    assert "200 more scenarios are not on this page" in html
    assert "The 24 lowest of " in html


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    "calls",
    [
        [],
        [CallExecution(id="1")],
        [CallExecution(id="1", status="completed", overall_score=5.0)],
        [CallExecution(id=str(n), overall_score=score) for n, score in enumerate((1e308, -1e308, 0.0))],
        [CallExecution(id=str(n), overall_score=float("inf"), response_time=float("nan")) for n in range(3)],
        [CallExecution(id=str(n), overall_score=3.0, response_time=0.0) for n in range(3)],
    ],
)
def test_few_or_odd_values_make_a_page(tmp_path: Path, calls: list[CallExecution]) -> None:
    """Also none at all; what can't be drawn is left out."""
    page = Page(written(tmp_path, summarise(calls)))
    assert f"Calls {len(calls)} " in page.text
    assert "NaN" not in page.text


@pytest.mark.slow
def test_the_dark_has_colours_of_its_own(compared: str) -> None:
    """Each colour that is drawn has one that takes its place, and nothing is drawn in any other."""
    drawn = set(re.findall(r' (?:fill|stroke)="(#\w+|\w+)"', compared)) - {"none", "transparent"}
    replaced = set(re.findall(r'svg \[fill="(#\w+)"\]', compared))
    assert drawn
    assert drawn <= replaced


@pytest.mark.slow
def test_charts_are_written_as_images(tmp_path: Path) -> None:
    """One for each chart of the page, as wide as a slide needs; the directory is made."""
    folder = tmp_path / "deep" / "slides"
    page = Page(written(tmp_path, summarise(make_calls(12)), png=folder))
    names = {path.stem for path in folder.iterdir()}
    assert names == set(charts_in(page)) > {"scores"}
    for path in folder.iterdir():
        data = path.read_bytes()
        assert data.startswith(PNG)
        assert int.from_bytes(data[16:20]) > 1_400


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize(
    "options", [{"format": "parquet"}, {"format": "jsonl"}, *slow({"format": "jsonl", "normalised": True})]
)
async def test_an_exports_transcripts_are_found(served: StandInServer, tmp_path: Path, options: Any) -> None:
    """In its files, as whole as the details of the same calls."""
    folder = tmp_path / "export"
    async with open_session(served) as session:
        await export_calls(session, RunTestCalls(served.run_test_ids[1]), folder, transcripts=True, **options)
        summary = summarise(folder)
        ids = [each.call_id for each in calls_in_report(summary)]
        outcomes = await session.fetch_call_executions(ids)
    write_report(tmp_path / "report.html", summary, calls=folder)
    html = (tmp_path / "report.html").read_text()
    details = [outcome.value for outcome in outcomes if outcome.value is not None]
    turns = [turn for call in details for turn in call.transcript or ()]
    assert len(turns) > 20
    assert html.count('<p class="said"') == len(turns)
    reasons = [each.reason for call in details for each in (call.eval_outputs or {}).values() if each.reason]
    assert len(reasons) > 20
    assert Page(html).text.count(reasons[0]) == reasons.count(reasons[0])


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_export_to_csv_has_no_transcripts(served: StandInServer, tmp_path: Path) -> None:
    """Its report does without."""
    async with open_session(served) as session:
        await export_calls(session, RunTestCalls(served.run_test_ids[2]), tmp_path / "export", format="csv")
    summary = summarise(tmp_path / "export")
    write_report(tmp_path / "report.html", summary, calls=tmp_path / "export")
    assert "Their transcripts were not read." in (tmp_path / "report.html").read_text()


def test_a_file_is_replaced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can't be finished leaves the old one, and nothing beside it."""
    summary = summarise([], label="Support bot v4")
    (tmp_path / "report.html").write_text("before")
    with monkeypatch.context() as broken:
        broken.setattr(report, "replace_file", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(ExportError, match="No space left"):
            write_report(tmp_path / "report.html", summary)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "before"
    assert "Support bot v4" in written(tmp_path, summary)


def test_wrong_arguments_are_refused(tmp_path: Path, comparison: Comparison) -> None:
    """Before anything is drawn or written."""
    target, summary = tmp_path / "report.html", comparison.after
    for wrong, kind, message in (
        ({"path": 5}, TypeError, "path must be a path"),
        ({"path": ""}, ValueError, "path must not be empty"),
        ({"path": "s3://bucket/report.html"}, ValueError, "s3://"),
        ({"data": [1]}, TypeError, "data must be a Summary or a Comparison"),
        ({"title": 5}, TypeError, "title must be a str"),
        ({"calls": 5}, TypeError, "calls must be calls"),
        ({"calls": [5]}, TypeError, "A call is a CallExecution, not int"),
        ({"png": 5}, TypeError, "png must be a path"),
        ({"calls": tmp_path}, ExportError, r"no _manifest\.json"),
        ({"path": tmp_path}, ExportError, "not a regular file"),
        ({"path": tmp_path / "no" / "report.html"}, ExportError, "Can't write"),
    ):
        with pytest.raises(kind, match=message):
            write_report(**({"path": target, "data": summary} | wrong))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_missing_libraries_are_named(
    tmp_path: Path, comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the line that installs them."""
    monkeypatch.setattr(report, "find_spec", lambda name: None if name != "jinja2" else "there")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'altair>=.*' 'vl-convert-python>=.*'$"):
        write_report(tmp_path / "report.html", comparison)
