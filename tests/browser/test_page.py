"""Reports in a real browser: they ask for nothing, complain of nothing, and fit every screen.

``nox -s browser`` runs these; they need playwright and a Chromium on the ``PATH``.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futureagi_async.analysis import compare, summarise, write_report
from tests.support.reports import HOSTILE, hostile_calls, make_calls

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is on the PATH"),
    pytest.mark.timeout(300),
]

PHONE, DESKTOP = 390, 1280
OPEN_ALL = "document.querySelectorAll('details').forEach(one => one.open = true)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Run a Chromium without a window."""
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write reports: a plain one, a comparison, a hostile one, and one of 20,000 calls."""
    folder = tmp_path_factory.mktemp("pages")
    before, after = make_calls(300), make_calls(300, seed=2, worse=1.0, first_day=12)
    bad = hostile_calls(seed=2)
    many = make_calls(20_000)
    compared = compare(summarise(before, label="Support bot v3"), summarise(after, label="Support bot v4"))
    hostile = compare(summarise(hostile_calls(), label=HOSTILE[0]), summarise(bad, label=HOSTILE[10]))
    write_report(folder / "summary.html", summarise(before), calls=before)
    write_report(folder / "comparison.html", compared, calls=after)
    write_report(folder / "hostile.html", hostile, calls=bad, title=HOSTILE[1])
    write_report(folder / "many.html", summarise(many), calls=many)
    return {path.stem: path for path in folder.iterdir()}


class Visit:
    """A page that is open, with all that went wrong and all that was asked for."""

    def __init__(self, browser: Any, path: Path, width: int, scheme: str = "light") -> None:
        self._context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
        )
        self.page = self._context.new_page()
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("popup", lambda popup: self.troubles.append(f"opened {popup.url}"))
        self.page.goto(path.as_uri())

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def run(self, script: str) -> Any:
        """Return what a script gives: the page's own are forbidden, a debugger's are not."""
        return self.page.evaluate(script)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("name", ["summary", "comparison", "hostile", "many"])
def test_a_page_fits_and_is_quiet(
    browser: Any, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    """With everything opened: no error, no request but its own, and nothing wider than the screen."""
    with Visit(browser, pages[name], width, scheme) as visit:
        assert visit.run("document.documentElement.scrollWidth") <= width
        visit.run(OPEN_ALL)
        assert visit.run("document.documentElement.scrollWidth") <= width
        assert visit.requests == [pages[name].as_uri()]
        assert visit.troubles == []
        shown = visit.run(
            "[...document.querySelectorAll('figure svg')].filter(e => e.getBoundingClientRect().width)"
        )
        assert len(shown) == visit.run("document.querySelectorAll('figure').length") > 0


def test_hostile_text_does_nothing(browser: Any, pages: dict[str, Path]) -> None:
    """It stands there as text: no script ran, no element of its own is there, nothing is hidden."""
    with Visit(browser, pages["hostile"], DESKTOP) as visit:
        assert visit.page.title() == HOSTILE[1]
        assert visit.run("document.scripts.length") == 0
        assert visit.run("document.images.length") == 0
        assert visit.run("document.styleSheets.length") == 1
        assert visit.run("document.querySelectorAll('h1').length") == 1
        assert visit.run("document.querySelectorAll('main').length") == 1
        assert visit.run("getComputedStyle(document.querySelector('h1')).display") != "none"
        assert "<script>" in visit.run("document.body.innerText")
        assert visit.run("document.querySelectorAll('a').length") == 0


def test_the_policy_forbids_what_the_page_does_not_have(
    browser: Any, pages: dict[str, Path], tmp_path: Path
) -> None:
    """Smuggled in behind the escaping, a script, an image and a style are refused all the same."""
    smuggled = (
        "<script>document.title='owned'</script><style>h1{display:none}</style>"
        "<img src='https://example.com/x.png' onerror=\"document.title=1\">"
    )
    html = pages["summary"].read_text(encoding="utf-8").replace("<main>", f"<main>{smuggled}")
    (tmp_path / "smuggled.html").write_text(html, encoding="utf-8")
    with Visit(browser, tmp_path / "smuggled.html", DESKTOP) as visit:
        assert visit.page.title() == "calls"
        assert visit.run("getComputedStyle(document.querySelector('h1')).display") != "none"
        refused = [each for each in visit.troubles if "Content Security Policy" in each]
        assert len(refused) >= 3


def test_a_call_opens_on_demand(browser: Any, pages: dict[str, Path]) -> None:
    """Its transcript is not seen before, and its recording is a link that is only followed by a click."""
    with Visit(browser, pages["comparison"], PHONE) as visit:
        first = visit.page.locator(".calls details").first
        said = first.locator(".said").first
        assert not said.is_visible()
        first.locator("summary").click()
        assert said.is_visible()
        link = first.locator("a").first
        assert link.get_attribute("href", timeout=1_000).startswith("https://recordings.example.com/")
        assert len(visit.requests) == 1


def test_the_dark_is_dark(browser: Any, pages: dict[str, Path]) -> None:
    """Page and charts change their colours together, and text stands out from its paper in both."""
    seen = {}
    for scheme in ("light", "dark"):
        with Visit(browser, pages["comparison"], DESKTOP, scheme) as visit:
            colours = visit.run(
                """() => {
                    const of = (element, name) => getComputedStyle(element)[name];
                    const texts = [...document.querySelectorAll('figure .wide svg text')];
                    return [of(document.body, 'backgroundColor'), of(document.body, 'color'),
                            of(document.querySelector('figure'), 'backgroundColor'),
                            ...new Set(texts.map(text => of(text, 'fill')))];
                }"""
            )
            seen[scheme] = [_brightness(colour) for colour in colours]
    light, dark = seen["light"], seen["dark"]
    assert light[0] > 200 > 100 > light[1]
    assert dark[0] < 60 < 150 < dark[1]
    assert all(abs(light[2] - text) > 80 for text in light[3:])
    assert all(abs(dark[2] - text) > 80 for text in dark[3:])


def _brightness(colour: str) -> float:
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")[:3])
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_names_in_charts_are_not_cut(browser: Any, pages: dict[str, Path]) -> None:
    """Whatever font the browser has: no text of a chart reaches over its edges."""
    for width, kind in ((PHONE, "narrow"), (DESKTOP, "wide")):
        with Visit(browser, pages["comparison"], width) as visit:
            over = visit.run(
                f"""() => [...document.querySelectorAll('figure .{kind} svg')].flatMap(svg => {{
                    const edge = svg.getBoundingClientRect();
                    return [...svg.querySelectorAll('text')].filter(text => {{
                        const box = text.getBoundingClientRect();
                        return box.left < edge.left - 1 || box.right > edge.right + 1;
                    }}).map(text => text.textContent);
                }})"""
            )
            assert over == []


def test_paper_is_white(browser: Any, pages: dict[str, Path]) -> None:
    """Printed from a dark screen, too, and over several sheets."""
    with Visit(browser, pages["comparison"], DESKTOP, "dark") as visit:
        visit.page.emulate_media(media="print", color_scheme="dark")
        assert visit.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert len(visit.page.pdf(format="A4")) > 20_000
        assert visit.troubles == []


def test_twenty_thousand_calls_are_a_small_and_quick_page(browser: Any, pages: dict[str, Path]) -> None:
    """Under 5 MB, and there at once."""
    assert pages["many"].stat().st_size < 5_000_000
    with Visit(browser, pages["many"], DESKTOP) as visit:
        timing = visit.run("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
        assert timing < 3_000
        assert "20,000" in visit.run("document.querySelector('.tiles').innerText")
