"""The options that name lists: ids, names, URLs and files. They are checked before any request."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import attrs
from cyclopts import Group, Parameter

import futureagi_async as sdk
from futureagi_async.cli.messages import UsageError, usage_errors

if TYPE_CHECKING:
    from uuid import UUID

    from futureagi_async.testing import StandInServer


SOURCES = Group(
    "Lists to read",
    help="You can repeat the first four options. @FILE reads their values from a file, one per line; "
    "it may have empty lines and comments after #.",
    sort_key=1,
)


@Parameter(name="*", group=SOURCES)
@attrs.define(frozen=True, kw_only=True)
class SourceOptions:
    """Options that name lists of calls."""

    run_test: Annotated[
        tuple[str, ...],
        Parameter(metavar="RUN", help="All calls of this run test: an id or a name."),
    ] = ()
    agent_version: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="AGENT:VERSION",
            help="All evaluated calls of this agent version: two ids or names, or AGENT:latest.",
        ),
    ] = ()
    test_execution: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="ID",
            help="All calls of this test execution, without transcripts: an id or latest:RUN.",
        ),
    ] = ()
    url: Annotated[
        tuple[str, ...],
        Parameter(metavar="URL", help="The list with this URL in the API or the dashboard."),
    ] = ()
    sources: Annotated[Path | None, Parameter(metavar="FILE", help="The lists in this TOML file.")] = None
    set: Annotated[
        str | None,
        Parameter(metavar="NAME", help="The set to read, if the file of --sources has several."),
    ] = None
    status: Annotated[
        str | None, Parameter(metavar="WORD", help="For each --run-test: only calls with this status.")
    ] = None
    search: Annotated[
        str | None,
        Parameter(
            metavar="TEXT",
            help="For each --run-test and --test-execution: only calls with this text in the number or "
            "scenario.",
        ),
    ] = None

    all: Annotated[
        tuple[Literal["run-tests", "agent-versions"], ...] | None,
        Parameter(
            metavar="KIND",
            consume_multiple=True,
            help="All run tests and agent versions, or only one kind.",
        ),
    ] = None
    since: Annotated[
        str | None,
        Parameter(
            metavar="TIME",
            help="With --all: only what ran in the last 12h, 30d or 4w, or since a date such as 2026-01-31.",
        ),
    ] = None

    @property
    def named(self) -> bool:
        """Whether any list is named."""
        given = (self.run_test, self.agent_version, self.test_execution, self.url, self.sources)
        return any(given) or self.all is not None


def lists_or_samples(lists: SourceOptions, stand_in: "StandInServer | None") -> SourceOptions:
    """Return the named lists, or else lists of the stand-in with the same filters."""
    if lists.named or stand_in is None:
        return lists
    return attrs.evolve(
        lists,
        run_test=stand_in.run_test_ids,
        agent_version=tuple(":".join(pair) for pair in stand_in.agent_versions),
        test_execution=stand_in.test_execution_ids[:1],
    )


def name_sources(lists: SourceOptions) -> "list[sdk.CallSource | sdk.SourceName]":
    """Return each list once, in the given order. Raises `UsageError` for wrong options."""
    _check_choices(lists)
    sources: list[sdk.CallSource | sdk.SourceName] = [
        *_read_each("--run-test", lists.run_test, lambda text: _run_test(text, lists)),
        *_read_each("--agent-version", lists.agent_version, _agent_version),
        *_read_each("--test-execution", lists.test_execution, lambda text: _test_execution(text, lists)),
        *_read_each("--url", lists.url, sdk.source_from_url),
        *(_read_set(lists.sources, lists.set) if lists.sources else ()),
        *_everything(lists),
    ]
    if not sources:
        raise UsageError(
            "There is no list to read: name one with --all, --run-test, --agent-version, --test-execution, "
            "--url or --sources, or try --demo."
        )
    return list(dict.fromkeys(sources))


def parse_id(text: str, what: str, *, other: str = "") -> "UUID":
    """Return a single id, or raise `UsageError`, which names what else the argument may be."""
    from uuid import UUID

    try:
        return UUID(text)
    except ValueError:
        raise UsageError(
            f"{what} must be a UUID such as 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed{other}, not {text!r}."
        ) from None


def _check_choices(lists: SourceOptions) -> None:
    if lists.status is not None and not lists.run_test:
        raise UsageError("--status needs a run test: name one with --run-test.")
    if lists.search is not None and not (lists.run_test or lists.test_execution):
        raise UsageError(
            "--search needs a run test or a test execution: name one with --run-test or --test-execution."
        )
    if lists.since is not None and lists.all is None:
        raise UsageError("--since needs --all: add it, or leave out --since.")
    if lists.set is not None and lists.sources is None:
        raise UsageError("--set needs a file: name it with --sources.")


def _read_each(
    option: str, values: Sequence[str], parse: "Callable[[str], sdk.CallSource | sdk.SourceName]"
) -> "Iterator[sdk.CallSource | sdk.SourceName]":
    for value in values:
        for where, text in _expanded(option, value):
            with usage_errors(where):
                yield parse(text)


def _read_set(path: Path, name: str | None) -> "list[sdk.CallSource | sdk.SourceName]":
    try:
        return sdk.load_source_names(path, name)
    except ValueError as error:  # the message uses the words of the file, not of the options
        raise UsageError(f"--sources: {error}") from error
    except OSError as error:
        raise UsageError(f"--sources: can't read {path}: {error.strerror or error}.") from error


def _expanded(option: str, value: str) -> list[tuple[str, str]]:
    """Return the ids of a value, each with its line if the value names a file."""
    if not value.startswith("@"):
        return [("", value.strip())]
    path = Path(value[1:])
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{option}: can't read {path}: {getattr(error, 'strerror', None) or error}."
        ) from error
    ids = [line.partition("#")[0].strip() for line in lines]
    return [(f"{path}, line {number}", text) for number, text in enumerate(ids, start=1) if text]


def _run_test(text: str, lists: SourceOptions) -> "sdk.CallSource | sdk.SourceName":
    return sdk.RunTestNamed(text, status=lists.status, search=lists.search).as_source()


def _agent_version(text: str) -> "sdk.CallSource | sdk.SourceName":
    return sdk.AgentVersionNamed.parse(text).as_source()


def _test_execution(text: str, lists: SourceOptions) -> "sdk.CallSource | sdk.SourceName":
    return sdk.LatestExecution.parse(text, search=lists.search)


_KINDS: "Mapping[str, sdk.SourceKind]" = {"run-tests": "run_tests", "agent-versions": "agent_versions"}


def _everything(lists: SourceOptions) -> "Iterator[sdk.AllSources]":
    if lists.all is None:
        return
    try:
        since = None if lists.since is None else sdk.parse_since(lists.since)
    except ValueError as error:
        raise UsageError(f"--{error}") from error
    chosen: list[sdk.SourceKind] = [_KINDS[kind] for kind in lists.all]
    yield sdk.AllSources(chosen, since) if chosen else sdk.AllSources(since=since)
