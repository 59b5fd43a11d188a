"""Draws docs/_static/report.png and report-phone.png: a report as a desktop and a phone show it.

``python docs/draw_report.py`` writes both; it needs playwright and a Chromium on the ``PATH``. The calls are
those of the tests, so that the pictures change with the page alone.
"""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "_static"
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def write_page(path: Path) -> None:
    """Write the report that is shown: a version of an agent against the one before."""
    from futureagi_async import FetchReport, FetchResult, RunTestCalls, SourceReport
    from futureagi_async.analysis import compare, summarise, write_report
    from tests.support.reports import make_calls

    made = datetime(2026, 11, 28, 7, 30, tzinfo=UTC)

    def read(seed: int, worse: float) -> FetchResult:
        calls = make_calls(400, seed=seed, worse=worse, first_day=12 * (seed - 1))
        source = RunTestCalls(f"{seed:08}-0000-4000-8000-000000000000")
        report = SourceReport(
            source=source,
            verdict="complete",
            reason="",
            expected=len(calls),
            received=len(calls),
            complete_as_of=made,
        )
        return FetchResult(calls, FetchReport((report,)))

    before, after = read(1, 0.0), read(2, 1.0)
    summaries = summarise(before, label="Support bot v3"), summarise(after, label="Support bot v4")
    write_report(path, compare(*summaries), calls=after.calls, now=made)


def draw(page: Path) -> None:
    """Take both pictures."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, _CHROMIUMS)))
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, scheme, width, height in (
            ("report", "light", 1280, 1480),
            ("report-phone", "dark", 390, 1480),
        ):
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            opened = context.new_page()
            opened.goto(page.as_uri())
            opened.screenshot(path=PICTURES / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    with TemporaryDirectory() as folder:
        write_page(Path(folder) / "report.html")
        draw(Path(folder) / "report.html")
