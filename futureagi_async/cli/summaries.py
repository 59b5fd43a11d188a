"""Reads what `gate`, `compare` and `report` take, lists by id or name and exports, into summaries."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs
from rich.console import Console

import futureagi_async as sdk
from futureagi_async.cli.connection import Endpoint, Limits
from futureagi_async.cli.formatting import format_count, one_line
from futureagi_async.cli.messages import UsageError, usage_errors
from futureagi_async.cli.running import run_async
from futureagi_async.cli.streams import open_stderr

if TYPE_CHECKING:
    from futureagi_async.analysis import Summary

T = TypeVar("T")

_MANIFESTS = ("_manifest.json", "manifest.json")  # earlier versions wrote the second


@attrs.frozen
class Subject:
    """An argument that names a list or an export."""

    text: str
    export: Path | None = None
    candidates: "tuple[sdk.CallSource | sdk.SourceName, ...]" = ()
    """The lists that it may mean, the most likely first."""


def parse_subject(text: str, what: str) -> Subject:
    """Parse an id, a name, ``latest:RUN``, ``AGENT:VERSION`` or a directory, or raise `UsageError`."""
    wanted = text.strip()
    path = Path(text)
    if wanted and (path.is_dir() or text.endswith("/") or path.name in _MANIFESTS):
        folder = path.parent if path.name in _MANIFESTS else path
        if not any((folder / name).is_file() for name in _MANIFESTS):
            raise UsageError(f"{what}: {text} has no finished export, because it has no {_MANIFESTS[0]}.")
        return Subject(text, export=folder)
    if path.is_file():
        raise UsageError(
            f"{what}: {text} is a file. Name the directory of an export, or if a run test has this name, "
            "its id."
        )
    try:
        return Subject(text, candidates=_candidates(wanted))
    except ValueError:
        raise UsageError(
            f"{what} must be an id, the name of a run test, latest:RUN, AGENT:VERSION or the directory of "
            f"an export, not {text!r}."
        ) from None


def _candidates(text: str) -> "tuple[sdk.CallSource | sdk.SourceName, ...]":
    run_test = sdk.RunTestNamed(text).as_source()
    if isinstance(run_test, sdk.RunTestCalls):  # an id does not say what it belongs to
        return sdk.TestExecutionCalls(text), run_test
    if text.partition(":")[0].strip() == "latest":
        return (sdk.LatestExecution.parse(text),)
    if ":" in text.strip(":"):
        return sdk.AgentVersionNamed.parse(text).as_source(), run_test
    return (run_test,)


def read_subject(subject: Subject, endpoint: Endpoint, limits: Limits) -> "Summary":
    """Return the summary of the list or export that an argument names. Its label is the argument."""
    if subject.export is not None:
        return read_export(subject.export)
    source = find_subject(subject, endpoint)
    return read_lists([source], endpoint, limits, label=one_line(subject.text))


def find_subject(subject: Subject, endpoint: Endpoint) -> "sdk.CallSource":
    """Return the list that an argument names, after looking it up."""
    if len(subject.candidates) == 1 and isinstance(subject.candidates[0], sdk.CallSource):
        return subject.candidates[0]
    return _run(endpoint.session(), partial(_find, subject.candidates))


async def _find(
    candidates: "Sequence[sdk.CallSource | sdk.SourceName]", session: "sdk.Session"
) -> "sdk.CallSource":
    """Return the first candidate that exists. If none does, raise the error of the first look-up."""
    errors: list[sdk.NameLookupError | sdk.NotFoundError] = []
    for candidate in candidates:
        try:
            if not isinstance(candidate, sdk.CallSource):
                (source,) = await session.find_sources(candidate)
                return source
            await session.get_page(candidate, limit=1)
        except (sdk.NameLookupError, sdk.NotFoundError) as error:
            errors.append(error)
        else:
            return candidate
    raise errors[0]


@contextmanager
def needed_libraries() -> Iterator[None]:
    """Raise `UsageError` for a library that is not installed, with how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(str(error)) from error


def read_export(path: Path) -> "Summary":
    """Return the summary of the export in a directory."""
    from futureagi_async.analysis import summarise

    with needed_libraries(), usage_errors():
        return summarise(path)


def read_lists(
    sources: "Sequence[sdk.CallSource]", endpoint: Endpoint, limits: Limits, *, label: str | None = None
) -> "Summary":
    """Return one summary of lists of calls. Its verdict says what is missing.

    Raises the first failure if nothing could be read.
    """
    session = endpoint.session(
        max_in_flight=limits.max_in_flight, max_requests_per_minute=limits.max_requests_per_minute
    )
    return _run(session, partial(_read, sources, limits.page_size, label, open_stderr()))


async def _read(
    sources: "Sequence[sdk.CallSource]",
    page_size: int,
    label: str | None,
    console: Console,
    session: "sdk.Session",
) -> "Summary":
    from futureagi_async.analysis import SummaryBuilder

    builder = SummaryBuilder()
    calls = 0
    with console.status("Reading") as status:
        async with session.stream_calls(sources, page_size=page_size, on_error="collect") as stream:
            async for call in stream:
                builder.add(call)
                calls += 1
                if calls % page_size == 0:
                    status.update(f"Reading: {format_count(calls, 'call')}")
    failed = [failure for report in stream.report for failure in report.failures]
    if not calls and failed:
        raise failed[0]
    return builder.finish(stream.report, label=label)


def _run(session: "sdk.Session", work: "Callable[[sdk.Session], Awaitable[T]]") -> T:
    async def opened() -> T:
        async with session:
            with needed_libraries(), usage_errors():
                return await work(session)

    return run_async(opened)
