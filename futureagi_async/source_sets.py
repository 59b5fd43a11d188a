"""Sets of sources that people keep in a TOML file."""

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from futureagi_async.options import brief
from futureagi_async.source_urls import source_from_url
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls

Entry = str | dict[str, Any]


def load_sources(
    path: str | PathLike[str],
    set: str | None = None,  # noqa: A002 - the word of the command line
) -> list[CallSource]:
    """Return the sources of one set of a TOML file, each once, in the order of the file.

    A set is a table; its keys are lists, whose entries are ids or, where there is more to say, tables::

        [nightly]
        run_tests = ["RUN_TEST_ID", {id = "RUN_TEST_ID", status = "completed", search = "parcel"}]
        agent_versions = ["AGENT_ID:VERSION_ID"]
        test_executions = ["TEST_EXECUTION_ID", {id = "TEST_EXECUTION_ID", search = "parcel", filters = []}]
        urls = ["https://app.futureagi.com/dashboard/simulate/test/RUN_TEST_ID"]

    Without ``set`` the file must hold a single one. Addresses are read as by `source_from_url`; filters are
    those of `TestExecutionCalls`.

    Raises `OSError` for a file that can't be read, and `ValueError` for everything else that is wrong in it,
    with the file, the set and the key.
    """
    file = Path(path)
    tables = _tables(file)
    name = _choose(tables, set, file)
    try:
        sources = list(dict.fromkeys(_sources(tables[name])))
    except ValueError as error:
        raise ValueError(f"{file}: [{name}] {error}") from error
    if not sources:
        raise ValueError(f"{file}: [{name}] names no list of calls: it needs {_KEYS_TEXT}.")
    return sources


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
            f"{file}: {stray[0]} stands outside of a set: put it below a line such as [nightly]."
        )
    return tables


def _choose(tables: Mapping[str, object], name: str | None, file: Path) -> str:
    known = ", ".join(tables)
    if not tables:
        raise ValueError(f"{file} holds no set: begin one with a line such as [nightly].")
    if name is None and len(tables) > 1:
        raise ValueError(f"{file} holds several sets, choose one: {known}.")
    if name is not None and name not in tables:
        raise ValueError(f"{file} holds no set {name!r}; it holds {known}.")
    return name if name is not None else next(iter(tables))


def _sources(table: Mapping[str, object]) -> Iterator[CallSource]:
    for key, entries in table.items():
        if key not in _READERS:
            raise ValueError(f"{key} is not a key of a set; its keys are {_KEYS_TEXT}.")
        for number, entry in enumerate(_listed(key, entries), start=1):
            try:
                yield _READERS[key](entry)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{key}, entry {number}: {error}") from error


def _listed(key: str, entries: object) -> list[Any]:
    match entries:
        case list():
            return entries
    raise ValueError(f"{key} must be a list, as in {key} = [...], not {brief(entries)}.")


def _run_test(entry: Entry) -> RunTestCalls:
    fields = _fields(entry, "id", {"search", "status"})
    return RunTestCalls(fields.pop("id"), **fields)


def _agent_version(entry: Entry) -> AgentVersionCalls:
    if isinstance(entry, str):
        return AgentVersionCalls.parse(entry)
    fields = _fields(entry, "agent", {"version"})
    if "version" not in fields:
        raise ValueError("version is missing.")
    return AgentVersionCalls(fields["agent"], fields["version"])


def _test_execution(entry: Entry) -> TestExecutionCalls:
    fields = _fields(entry, "id", {"search", "filters"})
    return TestExecutionCalls(fields.pop("id"), **fields)


_READERS: Mapping[str, Callable[[Any], CallSource]] = {
    "run_tests": _run_test,
    "agent_versions": _agent_version,
    "test_executions": _test_execution,
    "urls": source_from_url,
}
_KEYS_TEXT = ", ".join(_READERS)


def _fields(entry: Entry, required: str, optional: set[str]) -> dict[str, Any]:
    if isinstance(entry, str):
        return {required: entry}
    if not isinstance(entry, dict):
        raise TypeError(f'it must be an id, or a table such as {{{required} = "..."}}, not {brief(entry)}.')
    if unknown := sorted(entry.keys() - optional - {required}):
        raise ValueError(f"{unknown[0]} is not known here: {', '.join((required, *sorted(optional)))} are.")
    if required not in entry:
        raise ValueError(f"{required} is missing.")
    return dict(entry)
