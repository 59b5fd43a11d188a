"""Draws the tables of a benchmark as bars: one SVG, in which misses of goals stand out.

``python -m benchmarks --write docs/performance.md`` draws them. ``python -m benchmarks.plots
docs/performance.md`` draws those of the tables that stand in the page.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from statistics import fmean

import attrs

WIDTH, LABELS, BARS = 820, 440, 290
_ROW, _BAR, _HEADING = 22, 14, 34
_NUMBER = re.compile(r"[0-9.]+")
_STYLE = """
svg { color-scheme: light dark }
.paper { fill: light-dark(#ffffff, #131416) }
.reached { fill: light-dark(#2f9a55, #4cae72) }
.missed { fill: light-dark(#d98e14, #e8a53a) }
.peer { fill: light-dark(#b9c6d6, #55626f) }
.goal { stroke: light-dark(#1b2733, #ffffff); stroke-width: 2 }
text { font: 13px system-ui, sans-serif; fill: light-dark(#1b2733, #dbe3ec) }
.heading { font-weight: bold }
.value, .label { font-size: 12px }
.label { text-anchor: end }
"""


@attrs.frozen
class Bar:
    """A row of a table."""

    measure: str
    measured: Sequence[str]
    """By each run."""
    goal: str
    reached: str

    @property
    def length(self) -> float:
        """What was measured, as a number: the mean of all runs."""
        return fmean(map(_number, self.measured))

    @property
    def style(self) -> str:
        """Whether a goal was reached; a peer has none."""
        return {"yes": "reached", "": "peer"}.get(self.reached, "missed")


@attrs.frozen
class Table:
    """A table as `benchmarks.rounds.print_table` prints it, with a column for each run."""

    heading: str
    bars: Sequence[Bar]


def read_tables(text: str) -> Iterator[Table]:
    """Return the tables of a text in Markdown."""
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        if len(rows) > 2 and rows[0][-2:] == ["goal", "reached"]:
            yield Table(rows[0][0], [Bar(row[0], row[1:-2], *row[-2:]) for row in rows[2:]])


def draw(tables: Sequence[Table]) -> str:
    """Return an SVG of the tables, each on a scale of its own."""
    body, height = list(_legend()), float(_HEADING)
    for table in tables:
        height += _HEADING
        heading = table.heading
        if any(bar.goal.startswith("≥") for bar in table.bars):
            heading += " (more is better)"
        body.append(f'<text class="heading" x="12" y="{height - 12:g}">{escape(heading)}</text>')
        longest = max(bar.length for bar in table.bars)
        goals = [_number(bar.goal) for bar in table.bars if bar.goal]
        scale = BARS / max(longest, *goals, 1e-9)
        for bar in table.bars:
            body += _bar(bar, height, scale)
            height += _ROW
    height += 12
    size = f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}"'
    label = escape("; ".join(table.heading for table in tables))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">'
    paper = f'<rect class="paper" width="{WIDTH}" height="{height:g}"/>'
    return "\n".join([head, f"<style>{_STYLE}</style>", paper, *body, "</svg>", ""])


def _legend() -> Iterator[str]:
    """Return what the colours and the line mean."""
    across = 12
    for style, text in (("reached", "goal reached"), ("missed", "goal missed"), ("peer", "no goal")):
        yield f'<rect class="{style}" x="{across}" y="12" width="{_BAR}" height="{_BAR}" rx="2"/>'
        yield f'<text x="{across + 20}" y="24">{text}</text>'
        across += 120
    yield f'<path class="goal" d="M{across + 7} 9v20"/><text x="{across + 20}" y="24">the goal</text>'


def _bar(bar: Bar, top: float, scale: float) -> Iterator[str]:
    """Return a label, a bar with what was measured, and a line at the goal."""
    length, base = bar.length * scale, top + _BAR - 2
    yield f'<text class="label" x="{LABELS}" y="{base:g}">{escape(bar.measure)}</text>'
    at = f'x="{LABELS + 10}" y="{top:g}" width="{max(length, 1):.1f}" height="{_BAR}"'
    yield f'<rect class="{bar.style}" {at} rx="2"/>'
    ends, shown = [length], escape(", ".join(dict.fromkeys(bar.measured)))
    if bar.goal:
        ends.append(goal := _number(bar.goal) * scale)
        at = f"M{LABELS + 10 + goal:.1f} {top - 3:g}v{_BAR + 6}"
        yield f'<path class="goal" d="{at}"><title>goal: {escape(bar.goal)}</title></path>'
    yield f'<text class="value" x="{LABELS + 16 + max(ends):.1f}" y="{base:g}">{shown}</text>'


def _number(text: str) -> float:
    found = _NUMBER.search(text)
    return float(found[0]) if found else 0.0


def write_plots(page: Path, text: str) -> None:
    """Write the pictures that a text in Markdown refers to, from the tables below each."""
    for part in re.split(r"\n(?=!\[)", text)[1:]:
        found = re.match(r"!\[.*\]\((.+\.svg)\)", part)
        if found is None:
            raise ValueError(f"not a picture: {part[:60]!r}")
        section = re.split(r"\n#", part)[0]
        shown = [attrs.evolve(table, bars=_shown(table.bars)) for table in read_tables(section)]
        target = page.parent / found[1]
        target.parent.mkdir(exist_ok=True)
        target.write_text(draw([table for table in shown if table.bars]))


def _shown(bars: Sequence[Bar]) -> list[Bar]:
    """Leave out what is better read in the table: memory, which has its own goals."""
    return [bar for bar in bars if not bar.measure.startswith("memory")]


if __name__ == "__main__":
    page = Path(sys.argv[1])
    figures = page.read_text().partition("<!-- figures -->")[2]
    write_plots(page, figures)
