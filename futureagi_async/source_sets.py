"""Sets of sources in a TOML file."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import Any

from futureagi_async.options import brief
from futureagi_async.source_names import (
    AgentVersionNamed,
    AllSources,
    LatestExecution,
    RunTestNamed,
    SourceName,
    parse_since,
)
from futureagi_async.source_urls import source_from_url
from futureagi_async.sources import CallSource

Entry = str | dict[str, Any]


def load_sources(
    path: str | PathLike[str],
    set: str | None = None,  # noqa: A002 - the word of the command line
) -> list[CallSource]:
    """Return the sources of one set of a TOML file, each once, in the order of the file.

    A set is a table, and its keys are lists. An entry of a list is an id, or a table with more fields::

        [nightly]
        run_tests = ["RUN_TEST_ID", {id = "RUN_TEST_ID", status = "completed", search = "parcel"}]
        agent_versions = ["AGENT_ID:VERSION_ID"]
        test_executions = ["TEST_EXECUTION_ID", {id = "TEST_EXECUTION_ID", search = "parcel", filters = []}]
        urls = ["https://app.futureagi.com/dashboard/simulate/test/RUN_TEST_ID"]

    If you leave out ``set``, the file must have exactly one. URLs are read by `source_from_url`; filters are
    those of `TestExecutionCalls`. For sets with names, or with ``all``, use `load_source_names`.

    Raises `OSError` if the file can't be read. Raises `ValueError` for any mistake in it; the message names
    the file, the set and the key.
    """
    sources: list[CallSource] = []
    for each in load_source_names(path, set):
        if not isinstance(each, CallSource):
            raise ValueError(  # noqa: TRY004 - the file's value, not the caller's type
                f"{path}: {_described(each)} needs a lookup: use "
                "await session.find_sources(load_source_names(...))."
            )
        sources.append(each)
    return sources


def load_source_names(
    path: str | PathLike[str],
    set: str | None = None,  # noqa: A002 - the word of the command line
) -> list[CallSource | SourceName]:
    """Return the sources and names of one set of a TOML file, for `Session.find_sources`.

    This works as `load_sources`, but an entry can be a name in place of an id, and ``all`` stands for the
    whole workspace::

        [nightly]
        run_tests = ["Checkout flow", {id = "Refund chats", status = "failed"}]
        agent_versions = ["Support bot:v3", {agent = "Support bot", version = "latest"}]
        test_executions = ["latest:Checkout flow"]

        [everything]
        all = true                                             # or ["run_tests"], or with more fields:
        # all = {kinds = ["run_tests", "agent_versions"], since = "30d"}   # or a date, or a date and time
    """
    file = Path(path)
    tables = _tables(file)
    name = _choose(tables, set, file)
    try:
        names = list(dict.fromkeys(_names(tables[name])))
    except ValueError as error:
        raise ValueError(f"{file}: [{name}] {error}") from error
    if not names:
        raise ValueError(f"{file}: [{name}] names no list of calls: add one of {_KEYS_TEXT}.")
    return names


def _described(name: SourceName) -> str:
    match name:
        case AllSources():
            return "'all'"
        case AgentVersionNamed():
            return f"the agent version '{name.agent}:{name.version}'"
    return f"the run test {name.run_test!r}"


def _tables(file: Path) -> Mapping[str, Mapping[str, object]]:
    import tomllib  # here, because few need it

    try:
        tables = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not text in UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} is not TOML: {error}.") from error
    if stray := [key for key, table in tables.items() if not isinstance(table, dict)]:
        raise ValueError(
            f"{file}: {stray[0]} stands before the first set: put it below a line such as [nightly]."
        )
    return tables


def _choose(tables: Mapping[str, object], name: str | None, file: Path) -> str:
    known = ", ".join(tables)
    if not tables:
        raise ValueError(f"{file} has no set: begin one with a line such as [nightly].")
    if name is None and len(tables) > 1:
        raise ValueError(f"{file} has several sets, choose one: {known}.")
    if name is not None and name not in tables:
        raise ValueError(f"{file} has no set {name!r}; it has {known}.")
    return name if name is not None else next(iter(tables))


def _names(table: Mapping[str, object]) -> Iterator[CallSource | SourceName]:
    for key, entries in table.items():
        if key == "all":
            yield from _all(entries)
            continue
        if key not in _READERS:
            raise ValueError(f"{key} is not a key of a set; the keys are {_KEYS_TEXT}.")
        for number, entry in enumerate(_listed(key, entries), start=1):
            try:
                yield _READERS[key](entry)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{key}, entry {number}: {error}") from error


def _all(value: object) -> Iterator[AllSources]:
    try:
        fields = _all_fields(value)
        if fields is not None:
            yield AllSources(**fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"all: {error}") from error


def _all_fields(value: object) -> dict[str, Any] | None:
    match value:
        case bool():
            return {} if value else None
        case list():
            return {"kinds": value}
        case dict():
            if unknown := sorted(value.keys() - {"kinds", "since"}):
                raise ValueError(f"{unknown[0]} is not a field here; the fields are kinds, since.")
            return {**value} | ({"since": _moment(value["since"])} if "since" in value else {})
    raise TypeError(f"it must be true, a list of kinds or a table, not {brief(value)}.")


def _moment(value: object) -> datetime | timedelta:
    """Return a date, a date and time (UTC if it has no zone), or the value of a text for `parse_since`."""
    match value:
        case datetime():
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        case date():
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        case str():
            return parse_since(value)
    raise TypeError(f'since must be a date, or a duration before now such as "30d", not {brief(value)}.')


def _listed(key: str, entries: object) -> list[Any]:
    match entries:
        case list():
            return entries
    raise ValueError(f"{key} must be a list, as in {key} = [...], not {brief(entries)}.")


def _run_test(entry: Entry) -> CallSource | SourceName:
    fields = _fields(entry, "id", {"search", "status"})
    return RunTestNamed(fields.pop("id"), **fields).as_source()


def _agent_version(entry: Entry) -> CallSource | SourceName:
    if isinstance(entry, str):
        return AgentVersionNamed.parse(entry).as_source()
    fields = _fields(entry, "agent", {"version"})
    if "version" not in fields:
        raise ValueError("version is missing.")
    return AgentVersionNamed(fields["agent"], fields["version"]).as_source()


def _test_execution(entry: Entry) -> CallSource | SourceName:
    fields = _fields(entry, "id", {"search", "filters"})
    return LatestExecution.parse(fields.pop("id"), **fields)


_READERS: Mapping[str, Callable[[Any], CallSource | SourceName]] = {
    "run_tests": _run_test,
    "agent_versions": _agent_version,
    "test_executions": _test_execution,
    "urls": source_from_url,
}
_KEYS_TEXT = ", ".join([*_READERS, "all"])


def _fields(entry: Entry, required: str, optional: set[str]) -> dict[str, Any]:
    if isinstance(entry, str):
        return {required: entry}
    if not isinstance(entry, dict):
        raise TypeError(
            f'it must be an id, a name or a table such as {{{required} = "..."}}, not {brief(entry)}.'
        )
    if unknown := sorted(entry.keys() - optional - {required}):
        known = ", ".join((required, *sorted(optional)))
        raise ValueError(f"{unknown[0]} is not a field here; the fields are {known}.")
    if required not in entry:
        raise ValueError(f"{required} is missing.")
    return dict(entry)
