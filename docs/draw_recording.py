"""Draws docs/_static/export.svg: an export as it runs in a terminal, as text that can be selected.

``python docs/draw_recording.py`` runs the export in a terminal of its own and keeps what it shows; it needs
``pip install pyte``, a terminal in memory. The picture plays once and stays at its last frame; where the
reader wants no motion, it shows the last frame alone.
"""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyte

PICTURE = Path(__file__).resolve().parent / "_static" / "export.svg"
COMMAND = "futureagi-async export --demo -o calls.jsonl"
COLUMNS, ROWS = 72, 12
FRAME_SECONDS = 0.15
_TYPING_SECONDS = 1.0

_WIDTH, _LINE, _LEFT, _TOP = 8.4, 19, 14, 36  # of a character of 14 px monospace, and around the text
_COLOURS = {
    "black": "#8b949e",
    "red": "#ff7b72",
    "green": "#7ee787",
    "brown": "#e3b341",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
    "white": "#e6edf3",
    "default": "#e6edf3",
}
_STYLE = """
text { font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre }
.frame { opacity: 0; animation: show 1ms linear forwards }
@keyframes show { to { opacity: 1 } }
@media (prefers-reduced-motion: reduce) { .frame { opacity: 1; animation: none } }
"""


def record() -> Iterator[tuple[float, str]]:
    """Run the export in a terminal, and yield what it shows as SVG, with the seconds since it began."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    stream.feed(f"$ {COMMAND}\r\n".encode())
    yield 0.0, _frame(screen)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TERM": "xterm",
        "COLUMNS": str(COLUMNS),
    }
    with TemporaryDirectory() as folder:
        began = time.monotonic()
        run = subprocess.Popen(  # noqa: S603 - our own command
            COMMAND.split(), cwd=folder, env=environment, stdin=follower, stdout=follower, stderr=follower
        )
        os.close(follower)
        while news := _read(leader):
            stream.feed(news)
            yield time.monotonic() - began, _frame(screen)
        if run.wait():
            raise SystemExit(f"The export ended with {run.returncode}.")
    os.close(leader)
    stream.feed(b"$ ")
    yield time.monotonic() - began, _frame(screen)


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # the other end is closed
        return b""


def _frame(screen: pyte.Screen) -> str:
    """Return the text of a screen, a line of SVG for each that holds some."""
    lines = []
    for row in range(ROWS):
        cells = [screen.buffer[row][column] for column in range(COLUMNS)]
        spans, column = [], 0
        for style, run in groupby(cells, key=_style):
            text = "".join(cell.data for cell in run)
            if text.strip():
                x = _LEFT + column * _WIDTH
                spans.append(f'<tspan x="{x:g}"{style}>{escape(text.rstrip())}</tspan>')
            column += len(text)
        if spans:
            lines.append(f'<text y="{_TOP + row * _LINE + 14}">{"".join(spans)}</text>')
    return "\n".join(lines)


def _style(cell: Any) -> str:
    colour = _COLOURS.get(cell.fg) or f"#{cell.fg}"
    bold = ' font-weight="bold"' if cell.bold else ""
    return f' fill="{colour}"{bold}'


def keep_some(frames: Iterator[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return the frames that differ, no more than a few a second, and always the last one."""
    kept: list[tuple[float, str]] = []
    last = (0.0, "")
    for moment, shown in frames:
        if not kept or (shown != kept[-1][1] and moment - kept[-1][0] >= FRAME_SECONDS):
            kept.append((moment, shown))
        last = (moment, shown)
    return kept if kept[-1][1] == last[1] else [*kept, last]


def draw(frames: list[tuple[float, str]]) -> str:
    """Return the picture: each frame covers the one before."""
    width, height = 2 * _LEFT + COLUMNS * _WIDTH, _TOP + ROWS * _LINE + 14
    paper = f'<rect width="{width:g}" height="{height}" rx="8" fill="#0d1117"/>'
    dots = "".join(f'<circle cx="{18 + 18 * number}" cy="18" r="5" fill="#30363d"/>' for number in range(3))
    body = []
    for moment, shown in frames:
        delay = moment + (_TYPING_SECONDS if moment else 0.0)
        body.append(f'<g class="frame" style="animation-delay: {delay:.2f}s">{paper}{dots}\n{shown}\n</g>')
    size = f'viewBox="0 0 {width:g} {height}" width="{width:g}" height="{height}"'
    label = f'role="img" aria-label="A terminal that runs {escape(COMMAND)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>'
    return "\n".join([head, f"<style>{_STYLE}</style>", paper, *body, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw(keep_some(record())))
