"""Draws docs/_static/export-life.svg: what is in an export's directory from its beginning to its end.

``python docs/draw_export.py`` interrupts an export from the stand-in server, runs it again, and draws what
was on the disk at each step.
"""

import asyncio
from collections.abc import Iterator
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from futureagi_async import ExportProgress, RunTestCalls, Session, export_calls
from futureagi_async.testing import StandInServer

PICTURE = Path(__file__).resolve().parent / "_static" / "export-life.svg"
_CALLS, _PAGE = 1_200, 100
_STOP_AFTER = 500

_WIDTH, _LINE, _PADDING = 760, 20, 14
_STYLE = """
svg { color-scheme: light dark }
.paper { fill: light-dark(#ffffff, #131416) }
.step { fill: light-dark(#f3f6fa, #1f242b); stroke: light-dark(#b9c6d6, #46525f) }
.stopped { fill: light-dark(#ffd6d6, #6e1f24); stroke: light-dark(#c93a3a, #ff8a8a) }
.done { fill: light-dark(#d3f2dc, #1a5130); stroke: light-dark(#2f9a55, #6fd394) }
.arrow { stroke: light-dark(#4c5b6b, #a3b1c0); stroke-width: 1.5; fill: none }
text { font: 15px system-ui, sans-serif; fill: light-dark(#1b2733, #dbe3ec) }
.title { font-weight: bold }
.file { font: 13px ui-monospace, Menlo, Consolas, monospace }
"""

Step = tuple[str, str, list[str], list[str]]
"""A style, a title, sentences, and the files there were."""


def files(folder: Path) -> list[str]:
    """Return the files of an export's directory, but for SQLite's own."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(f"out/{name}" for name in found if not name.endswith(("-wal", "-shm", "lock")))


async def run(folder: Path) -> list[Step]:
    """Run the export twice, and return what it looked like."""
    steps: list[Step] = []
    seen: dict[str, list[str]] = {}

    def stop(progress: ExportProgress) -> None:
        seen.setdefault(progress.phase, files(folder))
        if progress.records >= _STOP_AFTER:
            raise InterruptedError

    def look(progress: ExportProgress) -> None:
        if progress.phase == "reading":
            seen["reading"] = files(folder)
        seen.setdefault(progress.phase, files(folder))

    async with StandInServer(demo=False, seed=1, request_seconds=0.05) as server:
        source = RunTestCalls(server.add_run_test(_CALLS, slim=True))

        async def export(on_progress: object) -> None:
            keys = (server.api_key, server.secret_key, server.base_url)
            async with Session(*keys, max_in_flight=1) as session:
                await export_calls(
                    session, source, folder, format="parquet", page_size=_PAGE, on_progress=on_progress
                )

        try:
            await export(stop)
        except InterruptedError:
            first = len(server.requests)
        what = ["Each page is saved as it arrives."]
        steps.append(("step", "1  Reading", what, seen["reading"]))
        what = ["Ctrl-C, kill -9, a power cut, a full disk:", "what was read stays where it is."]
        steps.append(("stopped", f"2  Interrupted after {first} requests", what, files(folder)))
        seen.clear()
        await export(look)
    again = len(server.requests) - first
    what = [
        "It asks only for pages that are not there yet.",
        "At the end it reads the front again.",
    ]
    steps.append(("step", f"3  The same call again: {again} requests", what, seen["reading"]))
    what = ["The finished files are written beside the pages."]
    steps.append(("step", "4  Writing", what, seen["writing"]))
    what = ["Files get their names when they are whole.", "The manifest is the last one."]
    steps.append(("done", "5  Finished: complete", what, files(folder)))
    return steps


def draw(steps: list[Step]) -> str:
    """Return the picture: a box for each step, files on the right."""
    body = list(_boxes(steps))
    height = sum(_height(step) + 26 for step in steps) - 26 + 2 * _PADDING
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    label = 'role="img" aria-label="The steps of an export, and the files that are there at each."'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>'
    paper = f'<rect class="paper" width="{_WIDTH}" height="{height}"/>'
    return "\n".join([head, f"<style>{_STYLE}</style>", paper, *body, "</svg>", ""])


def _height(step: Step) -> int:
    _, _, sentences, there = step
    return max(1 + len(sentences), len(there)) * _LINE + 2 * _PADDING


def _boxes(steps: list[Step]) -> Iterator[str]:
    top = _PADDING
    for number, step in enumerate(steps):
        style, title, sentences, there = step
        height = _height(step)
        yield f'<rect class="{style}" x="14" y="{top}" width="{_WIDTH - 28}" height="{height}" rx="6"/>'
        first = top + _PADDING + 14
        yield f'<text class="title" x="28" y="{first}">{escape(title)}</text>'
        for line, sentence in enumerate(sentences, 1):
            yield f'<text x="28" y="{first + line * _LINE}">{escape(sentence)}</text>'
        for line, name in enumerate(there):
            yield f'<text class="file" x="402" y="{first + line * _LINE}">{escape(name)}</text>'
        top += height
        if number < len(steps) - 1:
            yield f'<path class="arrow" d="M60 {top + 3}v18m-5 -6l5 6l5 -6"/>'
        top += 26


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        PICTURE.write_text(draw(asyncio.run(run(Path(folder, "out")))))
