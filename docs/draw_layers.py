"""Draws docs/layers.svg: the folders of the package from top to bottom, as the import contracts order them.

``python docs/draw_layers.py`` writes the picture; a test compares it with what this would write.
"""

import ast
import textwrap
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "futureagi_async"
PICTURE = ROOT / "docs" / "layers.svg"

WIDTH = 860
_LEFT, _NAME_WIDTH, _PADDING, _GAP = 20, 150, 12, 10
_LINE, _CHARACTER = 18, 7.9  # height of a line; mean width of a character of 13 px monospace
_STYLE = """
svg { color-scheme: light dark }
.paper { fill: light-dark(#ffffff, #131416) }
.layer { fill: light-dark(#f3f6fa, #1f242b); stroke: light-dark(#b9c6d6, #46525f) }
text { font: 13px ui-monospace, Menlo, Consolas, monospace; fill: light-dark(#1b2733, #dbe3ec) }
.name { font-weight: bold }
.what { font-family: system-ui, sans-serif; fill: light-dark(#4c5b6b, #a3b1c0) }
"""


def layers() -> list[list[str]]:
    """Return the folders and files of each layer, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rows,) = (
        contract["layers"] for contract in contracts if contract.get("containers") == ["futureagi_async"]
    )
    named = [[name.strip() for name in row.split("|")] for row in rows]
    return [found for row in named if (found := [name for name in row if not name.startswith("(")])]


def purpose(path: Path) -> str:
    """Return the first sentence of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split()).replace("`", "")


def files(folder: Path) -> Iterator[str]:
    """Yield a line of a folder's own modules, then one for each folder in it."""
    yield " · ".join(sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__"))
    for inner in sorted(path.parent for path in folder.glob("*/__init__.py")):
        yield from (f"{inner.name}/  {line}" for line in files(inner))


def lines_of(name: str) -> list[tuple[str, str]]:
    """Return the lines of a layer's box behind its name, each with its style."""
    path = PACKAGE / name
    is_folder = path.is_dir()
    what = purpose(path / "__init__.py" if is_folder else path.with_suffix(".py"))
    wide = int((WIDTH - 2 * _LEFT - _NAME_WIDTH - 2 * _PADDING) / _CHARACTER)
    lines = [("what", line) for line in textwrap.wrap(what, int(wide * 1.15))]
    if is_folder and name != "testing":
        for named in files(path):
            lines += [("", line) for line in textwrap.wrap(named, wide, subsequent_indent="  ")]
    return lines


def draw() -> str:
    """Return the picture."""
    body: list[str] = []
    top = _GAP
    for row in layers():
        for name in row:
            lines = lines_of(name)
            height = max(1, len(lines)) * _LINE + _PADDING
            box = f'x="{_LEFT}" y="{top}" width="{WIDTH - 2 * _LEFT}" height="{height}"'
            body.append(f'<rect class="layer" {box} rx="6"/>')
            first = top + _PADDING / 2 + 13
            body.append(f'<text class="name" x="{_LEFT + _PADDING}" y="{first:g}">{escape(name)}</text>')
            for number, (style, line) in enumerate(lines):
                at = f'x="{_LEFT + _PADDING + _NAME_WIDTH}" y="{first + number * _LINE:g}"'
                body.append(f'<text class="{style}" {at}>{escape(line)}</text>')
            top += height + 4
        top += _GAP - 4
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
        'role="img" aria-label="The layers of the package; imports go down.">'
    )
    paper = f'<rect class="paper" width="{WIDTH}" height="{top}"/>'
    return "\n".join([head, f"<style>{_STYLE}</style>", paper, *body, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw())
