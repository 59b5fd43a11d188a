"""Checks of what callers order: one clear error, before any request, and before anything is written."""

import os
from collections.abc import Iterable
from pathlib import Path

from anyio.to_thread import run_sync

from futureagi_async.export.formats import check_installed
from futureagi_async.export.job import CallReader, Order
from futureagi_async.export.report import OnProgress
from futureagi_async.export.since import read_base
from futureagi_async.export.staging.parameters import Parameters, identify
from futureagi_async.export.targets import Target, read_target
from futureagi_async.sources import CallSource

MOST_ROWS = 1_000_000
"""The largest page to ask for."""


async def make_order(
    session: CallReader,
    sources: Iterable[CallSource] | CallSource,
    target: str | os.PathLike[str],
    *,
    format_: str | None,
    transcripts: bool,
    resume: bool,
    ordered: bool,
    normalised: bool,
    part_rows: int,
    page_size: int,
    include_provider_data: bool,
    since: str | os.PathLike[str] | None,
    recordings: str | os.PathLike[str] | None,
    allow_private_hosts: bool,
    on_progress: OnProgress | None,
) -> Order:
    """Return what is to be done, or raise `ValueError`, `TypeError` or `ExportError`."""
    checked = check_sources(sources)
    place = read_target(target, format_)
    check_count("part_rows", part_rows)
    check_count("page_size", page_size, at_most=MOST_ROWS)
    _check_fits(place, normalised=normalised, recordings=recordings)
    base = await run_sync(read_base, Path(since), checked) if since is not None else None
    parameters = Parameters(
        layout="directory" if place.is_directory else "file",
        format=place.format,
        compression=place.compression,
        normalised=normalised,
        ordered=ordered,
        page_size=page_size,
        part_rows=part_rows if place.is_directory else None,
        include_provider_data=include_provider_data,
        transcripts=transcripts,
        recordings=recordings is not None,
        since=base.digest if base is not None else None,
        sources=list(map(identify, checked)),
    )
    return Order(
        session=session,
        sources=checked,
        target=place,
        parameters=parameters,
        resume=resume,
        base=base,
        recordings=Path(recordings) if recordings is not None else None,
        allow_private_hosts=allow_private_hosts,
        on_progress=on_progress,
    )


def check_sources(sources: Iterable[CallSource] | CallSource) -> tuple[CallSource, ...]:
    """Return the sources as a tuple, or raise `TypeError`."""
    if isinstance(sources, CallSource):
        return (sources,)
    given = tuple(sources) if isinstance(sources, Iterable) else (sources,)
    for source in given:
        if not isinstance(source, CallSource):
            raise TypeError(
                "sources must be a list of RunTestCalls, AgentVersionCalls or TestExecutionCalls, "
                f"not of {type(source).__name__}."
            )
    return given


def check_count(name: str, value: object, *, at_most: int | None = None) -> None:
    """Raise `TypeError` or `ValueError` unless a value is an int in range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}.")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}.")
    if at_most is not None and value > at_most:
        raise ValueError(f"{name} must be at most {at_most:,}, not {value}.")


def _check_fits(target: Target, *, normalised: bool, recordings: str | os.PathLike[str] | None) -> None:
    if normalised and target.format != "jsonl":
        raise ValueError(
            f"normalised is for format 'jsonl': {target.format!r} always has our names and units."
        )
    if recordings is not None and not os.fspath(recordings):
        raise ValueError("recordings must be a directory, not ''.")
    check_installed(target.format, target.compression)
