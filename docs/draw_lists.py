"""Draws docs/_static/moving-list.svg and cover.svg: what paging loses, and how the client finds it.

``python docs/draw_lists.py`` writes both, from reads of the stand-in server: the same list, with the same
changes at the same moments, page after page and with a cover. A test compares the titles with what this
would write.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from futureagi_async import RunTestCalls, Session  # noqa: E402
from futureagi_async.testing import Motion, StandInServer  # noqa: E402
from tests.long.proof import SharedClock  # noqa: E402

PICTURES = ROOT / "docs" / "_static"

_SEED = 2
_STYLE = """
svg { color-scheme: light dark }
.paper { fill: light-dark(#ffffff, #131416) }
.row { fill: light-dark(#f3f6fa, #1f242b); stroke: light-dark(#b9c6d6, #46525f) }
.read { fill: light-dark(#cfe3ff, #1d4480); stroke: light-dark(#3b7bd0, #7fb0f5) }
.twice { fill: light-dark(#ffe3b8, #6b4a12); stroke: light-dark(#c98a1c, #e8b65a) }
.lost { fill: light-dark(#ffd6d6, #6e1f24); stroke: light-dark(#c93a3a, #ff8a8a); stroke-dasharray: 4 3 }
.found { fill: light-dark(#d3f2dc, #1a5130); stroke: light-dark(#2f9a55, #6fd394) }
text { font: 15px system-ui, sans-serif; fill: light-dark(#1b2733, #dbe3ec) }
.number { font: 15px ui-monospace, Menlo, Consolas, monospace; text-anchor: middle }
.small { font-size: 13px; fill: light-dark(#4c5b6b, #a3b1c0) }
.title { font-weight: bold }
.axis { stroke: light-dark(#b9c6d6, #46525f) }
"""


class Picture:
    """Shapes of an SVG, from top to bottom."""

    def __init__(self, width: int, label: str) -> None:
        self._width = width
        self._label = label
        self._body: list[str] = []

    def box(self, style: str, x: float, y: float, width: float, height: float) -> None:
        """Add a rectangle."""
        at = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
        self._body.append(f'<rect class="{style}" {at} rx="3"/>')

    def text(self, style: str, x: float, y: float, words: str) -> None:
        """Add a line of text."""
        self._body.append(f'<text class="{style}" x="{x:g}" y="{y:g}">{escape(words)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Add an axis."""
        self._body.append(f'<path class="axis" d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>')

    def finish(self, height: float) -> str:
        """Return the file."""
        size = f'viewBox="0 0 {self._width} {height:g}" width="{self._width}" height="{height:g}"'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(self._label)}">'
        )
        paper = f'<rect class="paper" width="{self._width}" height="{height:g}"/>'
        return "\n".join([head, f"<style>{_STYLE}</style>", paper, *self._body, "</svg>", ""])


class Page(NamedTuple):
    """A request for a page, and what it met."""

    page: int
    limit: int
    order: Sequence[str] = ()
    """The list when it was answered."""
    ids: Sequence[str] = ()

    @property
    def places(self) -> tuple[int, int]:
        """Where it begins and ends in the list."""
        return (self.page - 1) * self.limit, self.page * self.limit


class Read(NamedTuple):
    """A read of a list, and what became of it."""

    pages: Sequence[Page]
    received: int
    missed: int
    verdict: str


def open_server(calls: int, updates: float, request_seconds: float) -> tuple[StandInServer, str]:
    """Return a server that is not started, with a list that changes."""
    server = StandInServer(demo=False, seed=1, request_seconds=request_seconds)
    name = server.add_run_test(calls, slim=True)
    server.move(name, Motion(updates=updates, seed=_SEED, gap_share=0.0))
    server.clock.advance(6.0)
    return server, name


def page_after_page(calls: int, limit: int, updates: float) -> tuple[Sequence[str], list[Page]]:
    """Read a short list as most clients do; return its order before, and the pages."""
    server, name = open_server(calls, updates, 1.0)
    pages: list[Page] = []
    with server:
        before = order = server.run_test_rows(name)
        keys = {"X-Api-Key": server.api_key, "X-Secret-Key": server.secret_key}
        for number in range(1, calls // limit + 1):
            query = f"page={number}&limit={limit}"
            url = f"{server.base_url}/simulate/run-tests/{name}/call-executions/?{query}"
            with urlopen(Request(url, headers=keys)) as reply:  # noqa: S310 - the stand-in's own address
                ids = [call["id"] for call in json.load(reply)["results"]]
            start = (number - 1) * limit
            if order[start : start + limit] != ids:  # it changed before it was answered
                order = server.run_test_rows(name)
            pages.append(Page(number, limit, order, ids))
            order = server.run_test_rows(name)
    return before, pages


async def read(calls: int, page_size: int, updates: float, request_seconds: float, *, fast: bool) -> Read:
    """Read a list with the client, one request at a time, so that every run is the same."""
    server, name = open_server(calls, updates, request_seconds)
    async with server:
        begin = server.clock.monotonic()
        session = Session(
            server.api_key,
            server.secret_key,
            server.base_url,
            max_in_flight=1,
            clock=SharedClock(server.clock),
        )
        async with session:
            result = await session.fetch_calls(
                RunTestCalls(name), page_size=page_size, consistency="fast" if fast else "complete"
            )
        there = server.alive_throughout(name, begin, server.clock.monotonic())
        pages = [Page(int(each.query["page"]), int(each.query["limit"])) for each in server.requests]
    got = {call.id for call in result.calls}
    return Read(pages, len(got), len(there - got), result.report.sources[0].verdict)


_SIDE, _STEP = 44, 52


def draw_moving_list() -> str:
    """Return the steps of reading a list of twelve calls, three pages of four."""
    before, pages = page_after_page(12, 4, 0.34)
    ours = asyncio.run(read(12, 4, 0.34, 1.0, fast=False))
    names = {id_: str(number) for number, id_ in enumerate(before, 1)}
    received = [id_ for page in pages for id_ in page.ids]
    twice = {id_ for id_ in received if received.count(id_) > 1}
    lost = [names[id_] for id_ in before if id_ not in received]
    assert len(lost) == len(twice) == 1, "choose another seed"
    assert ours.verdict == "complete"
    assert not ours.missed

    picture = Picture(660, "Page after page, one of twelve calls is lost and another comes twice.")
    top, order = 30.0, before
    for page in pages:
        if page.order != order:
            moved = next(id_ for id_ in page.order if page.order.index(id_) < order.index(id_))
            picture.text("", 20, top, f"Call {names[moved]} is saved: it moves to the front of the list.")
            top, order = top + 36, page.order
        picture.text("title", 20, top, f"Page {page.page}")
        styles = {id_: "twice" if id_ in twice and page is pages[-1] else "read" for id_ in page.ids}
        _row(picture, top + 10, page.order, names, styles)
        top += 92
    picture.text("title", 20, top, f"The reader has {len(received)} rows, as many as the server counts")
    verdicts = {id_: "twice" if id_ in twice else "read" if id_ in received else "lost" for id_ in before}
    _row(picture, top + 10, before, names, verdicts)
    doubled = names[next(iter(twice))]
    picture.text("small", 20, top + 74, f"Call {doubled} came twice, and call {lost[0]} never came.")
    top += 116
    asked = " and ".join(f"page={page.page}&limit={page.limit}" for page in ours.pages)
    picture.text(
        "title", 20, top, f"futureagi_async, on the same list: {ours.received} calls, {ours.verdict}"
    )
    _row(picture, top + 10, before, names, dict.fromkeys(before, "found"))
    picture.text("small", 20, top + 74, f"It asked for {asked}; the second page holds the whole list.")
    return picture.finish(top + 92)


def _row(
    picture: Picture, top: float, order: Sequence[str], names: Mapping[str, str], styles: Mapping[str, str]
) -> None:
    for place, id_ in enumerate(order):
        left = 20 + place * _STEP
        picture.box(styles.get(id_, "row"), left, top, _SIDE, _SIDE)
        picture.text("number", left + _SIDE / 2, top + 28, names[id_])


_CALLS, _UPDATES, _HEIGHT, _LEFT = 1_500, 10.0, 330, 60


def draw_cover() -> str:
    """Return which places of a long list are asked for, request after request."""
    naive = asyncio.run(read(_CALLS, 100, _UPDATES, 0.2, fast=True))
    ours = asyncio.run(read(_CALLS, 100, _UPDATES, 0.2, fast=False))
    assert naive.missed
    assert not ours.missed
    assert ours.verdict == "complete"
    picture = Picture(660, "Pages that only touch lose rows; pages that overlap do not.")
    lost = f"Page after page: {len(naive.pages)} requests, {naive.missed} calls lost, nobody notices"
    _places(picture, 30, lost, naive.pages, "read")
    found = f"futureagi_async: {len(ours.pages)} requests, none lost, {ours.verdict}"
    _places(picture, 30 + _HEIGHT + 80, found, ours.pages, "found")
    return picture.finish(2 * (_HEIGHT + 80) + 16)


def _places(picture: Picture, top: float, title: str, pages: Sequence[Page], style: str) -> None:
    picture.text("title", 20, top, title)
    top += 16
    picture.text("small", 20, top + 12, "front")
    picture.text("small", 20, top + _HEIGHT, "end")
    picture.line(_LEFT, top, _LEFT, top + _HEIGHT)
    picture.line(_LEFT, top + _HEIGHT, 640, top + _HEIGHT)
    picture.text("small", _LEFT, top + _HEIGHT + 20, "requests in order")
    step = (640 - _LEFT - 10) / max(len(pages), 18)
    for number, page in enumerate(pages):
        start, end = (min(place, _CALLS) * _HEIGHT / _CALLS for place in page.places)
        left, height = _LEFT + 8 + number * step, round(end - start, 1)
        picture.box(style, round(left, 1), round(top + start, 1), round(step, 1), height)
    if pages[-1].page == 1:
        picture.text("small", left - 92, top + end + 18, "the front, read last")


DRAWN = {"moving-list.svg": draw_moving_list, "cover.svg": draw_cover}


if __name__ == "__main__":
    for name, draw in DRAWN.items():
        (PICTURES / name).write_text(draw())
