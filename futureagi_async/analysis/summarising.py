"""`summarise`: make a `Summary` of calls, a table or an export."""

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from futureagi_async.analysis.values import ReadVerdict, Summary
from futureagi_async.export.target_names import check_local
from futureagi_async.models import CallExecution, FetchReport, FetchResult
from futureagi_async.options import brief, check_kind

if TYPE_CHECKING:
    from futureagi_async.analysis.sample import Collector
    from futureagi_async.tables import CallsTable

_UNKNOWN = ReadVerdict(
    "unknown", ("It is not known whether these are all calls: pass the report of the read.",)
)
_SHOWN = 3
_NEEDED = {"numpy": "numpy>=1.26", "scipy": "scipy>=1.12", "statsmodels": "statsmodels>=0.14.2"}


def check_installed() -> None:
    """Raise `ModuleNotFoundError` with a line that installs what is missing of the extra ``[analysis]``."""
    missing = [line for name, line in _NEEDED.items() if find_spec(name) is None]
    if missing:
        lines = " ".join(f"'{line}'" for line in missing)
        raise ModuleNotFoundError(
            f"The analysis of calls needs more libraries (the extra [analysis]): pip install {lines}"
        )


class SummaryBuilder:
    """Builds a `Summary` call by call, for streams whose calls you do not keep.

    ::

        builder = SummaryBuilder()
        async with session.stream_calls(sources) as stream:
            async for call in stream:
                builder.add(call)
        summary = builder.finish(stream.report)
    """

    def __init__(self) -> None:
        check_installed()
        from futureagi_async.analysis.sample import Collector

        self._collector = Collector()
        self._waiting: list[CallExecution] = []

    def add(self, call: CallExecution) -> None:
        """Add a call. Only its figures are kept."""
        self._waiting.append(call)
        if len(self._waiting) == _AT_ONCE:
            self._take()

    def finish(self, report: FetchReport | None = None, *, label: str | None = None) -> Summary:
        """Return the summary. ``report`` says whether the calls are complete; ``label`` describes them."""
        from futureagi_async.analysis.summary import make_summary

        self._take()
        return make_summary(self._collector, *_described(report, label))

    def _take(self) -> None:
        from futureagi_async.analysis.reading import add_calls

        waiting, self._waiting = self._waiting, []
        add_calls(self._collector, waiting)


_AT_ONCE = 50


def summarise(
    data: "Iterable[CallExecution] | FetchResult | CallsTable | str | os.PathLike[str]",
    *,
    report: FetchReport | None = None,
    label: str | None = None,
) -> Summary:
    """Return the figures of a set of calls.

    An export is read part by part, and only the needed columns. Memory grows with the number of calls, by
    about 300 bytes per call, and not with their transcripts. The function blocks: in an event loop use
    ``anyio.to_thread.run_sync``.

    Args:
        data: Calls, a `FetchResult`, a `CallsTable`, or the directory of an export in any format.
        report: For calls: the report of the read that they come from. Without it, ``summary.verdict`` is
            ``unknown``, because nothing says whether the calls are complete.
        label: A description of the calls. Default: the sources, or the name of the directory.

    Raises `TypeError` for other data, `ExportError` if a directory has no finished export or a part of it
    can't be read, and `ModuleNotFoundError` without numpy.

    """
    check_installed()
    if label is not None:
        check_kind("label", label, str)
    if report is not None:
        check_kind("report", report, FetchReport)
    from futureagi_async.analysis.sample import Collector
    from futureagi_async.analysis.summary import make_summary

    collector = Collector()
    return make_summary(collector, *_collect(collector, data, report, label))


def _collect(
    collector: "Collector", data: Any, report: FetchReport | None, label: str | None
) -> tuple[str, ReadVerdict]:
    """Read the data into the collector. Return its label, and whether it is complete."""
    from futureagi_async.analysis import reading
    from futureagi_async.tables import CallsTable

    if isinstance(data, str | os.PathLike):
        folder = _folder(data)
        manifest = reading.add_export(collector, folder)
        return label or folder.name or str(folder), reading.verdict_of_manifest(manifest)
    if isinstance(data, FetchResult):
        reading.add_calls(collector, data.calls)
        return _described(data.report, label)
    if isinstance(data, CallsTable):
        reading.add_table(collector, data.calls, data.evaluations)
        return _described(data.report or report, label)
    if not isinstance(data, Iterable) or isinstance(data, bytes):
        raise TypeError(
            "data must be calls, a FetchResult, a CallsTable or the directory of an export, not "
            f"{brief(data)}."
        )
    reading.add_calls(collector, data)
    return _described(report, label)


def _folder(path: str | os.PathLike[str]) -> Path:
    name = os.fspath(path)
    if not isinstance(name, str) or not name:
        raise ValueError(f"data must be the path of a directory, not {name!r}.")
    check_local("data", name)
    return Path(name)


def _described(report: FetchReport | None, label: str | None) -> tuple[str, ReadVerdict]:
    from futureagi_async.analysis.reading import verdict_of_report

    if report is None:
        return label or "calls", _UNKNOWN
    labels = [each.source.label for each in report]
    more = [f"{len(labels) - _SHOWN:,} more"] if len(labels) > _SHOWN else []
    return label or ", ".join((*labels[:_SHOWN], *more)) or "no list", verdict_of_report(report)
