"""Sources: frozen values that each name one list of calls. They are checked before any request is sent."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, Literal, TypeAlias
from uuid import UUID

import attrs

from futureagi_async.filters import Filter, FilterLike, check_filter
from futureagi_async.options import brief, canonical_uuid, check_kind, is_sendable
from futureagi_async.words import CallStatus, warn_if_unknown


def check_id(value: str | UUID, name: str) -> str:
    """Return an id as the lower-case UUID text that the server uses in paths.

    Raises `TypeError` for a value that is neither str nor UUID. Raises `ValueError` for text that does not
    have the form 8-4-4-4-12 of hexadecimal digits: its request would go to another path, or get a 404.
    """
    if not isinstance(value, str | UUID):
        raise TypeError(f"{name} must be a UUID or its text, not {brief(value)}.")
    if canonical := canonical_uuid(value):
        return canonical
    raise ValueError(
        f"{name} must be a UUID such as 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed, not {brief(value)}."
    )


def _check_run_test_id(value: str | UUID) -> str:
    return check_id(value, "run_test_id")


def _check_agent_id(value: str | UUID) -> str:
    return check_id(value, "agent_id")


def _check_version_id(value: str | UUID) -> str:
    return check_id(value, "version_id")


def _check_test_execution_id(value: str | UUID) -> str:
    return check_id(value, "test_execution_id")


def _check_text(value: str, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str or None, not {brief(value)}.")
    if not value.strip():
        raise ValueError(f"{name} must not be empty: the server would ignore it. Leave it out, or give None.")
    if not is_sendable(value):
        raise ValueError(
            f"{name} must not contain NUL or lone surrogates (the server fails), as {brief(value)}."
        )
    return str.__str__(value)  # a StrEnum becomes its text


def check_search(value: str | None) -> str | None:
    """Return a search text, or raise `TypeError` or `ValueError`."""
    return None if value is None else _check_text(value, "search")


def check_one_state(value: str | None) -> str | None:
    """Return one status, or raise `TypeError` or `ValueError`."""
    if value is None:
        return None
    status = _check_text(value, "status")
    if "," in status or any(map(str.isspace, status)):
        raise ValueError(
            f"status must be one word, not {brief(value)}: the server matches it exactly and would find "
            "nothing. Read one source for each status."
        )
    return status


def _check_status(value: str | None) -> str | None:
    status = check_one_state(value)
    if status is not None:
        warn_if_unknown("status", status, CallStatus)
    return status


def check_filters(values: Iterable[FilterLike]) -> tuple[Filter, ...]:
    """Return the filters of a test execution, or raise `TypeError` or `ValueError`."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"filters must be a list of column(...) filters or of mappings, not {brief(values)}.")
    return tuple(map(check_filter, values))


@attrs.frozen
class RunTestCalls:
    r"""All calls of a run test, over all its executions.

    ``search`` keeps calls whose phone number or scenario name contains the text. Case is ignored; ``%``,
    ``_`` and ``\`` are wildcards. ``status`` keeps calls with exactly this status. A status that is not in
    `CallStatus` gives a `UserWarning`, and is sent anyway.

    The list also contains snapshots of calls before a rerun (`is_snapshot`). The server's count includes
    deleted calls, which it does not deliver. Raises `ValueError` or `TypeError` for a bad id, an empty text,
    or several statuses.

    Source: `GET /simulate/run-tests/{run_test_id}/call-executions/`.
    """

    kind: ClassVar[Literal["run_test"]] = "run_test"

    run_test_id: str = attrs.field(converter=_check_run_test_id)
    search: str | None = attrs.field(default=None, kw_only=True, converter=check_search)
    status: str | None = attrs.field(default=None, kw_only=True, converter=_check_status)

    @property
    def ids(self) -> dict[str, str]:
        """The ids in the list's path, by argument name."""
        return {"run_test_id": self.run_test_id}

    @property
    def label(self) -> str:
        """A short description of the list, without the search text, which may be personal data."""
        return f"run test {self.run_test_id}"

    def to_dict(self) -> dict[str, object]:
        """Return kind, ids, search and status as a dict for JSON."""
        return {"kind": self.kind, **self.ids, "search": self.search, "status": self.status}

    def __str__(self) -> str:
        return _described(self.label, search=self.search, status=self.status)


@attrs.frozen
class AgentVersionCalls:
    """The completed and evaluated calls of one version of an agent.

    The server lists no other calls, and sends no turns of chat calls. A call enters the list when its
    evaluations are done, and often not at the top. So the list may grow in the middle during a read.

    Raises `ValueError` or `TypeError` for a bad id.

    Source: `GET /simulate/agent-definitions/{agent_id}/versions/{version_id}/call-executions/`.
    """

    kind: ClassVar[Literal["agent_version"]] = "agent_version"

    agent_id: str = attrs.field(converter=_check_agent_id)
    version_id: str = attrs.field(converter=_check_version_id)

    @property
    def ids(self) -> dict[str, str]:
        """The ids in the list's path, by argument name."""
        return {"agent_id": self.agent_id, "version_id": self.version_id}

    @property
    def label(self) -> str:
        """A short description of the list."""
        return f"agent version {self.version_id}"

    def to_dict(self) -> dict[str, object]:
        """Return kind and ids as a dict for JSON."""
        return {"kind": self.kind, **self.ids}

    def __str__(self) -> str:
        return self.label


@attrs.frozen
class TestExecutionCalls:
    """The calls of one test execution.

    ``search`` keeps calls with this text in the phone number, scenario name, summary, transcript or dataset
    row. ``filters`` keeps calls that pass all filters. Make filters with `column`, or pass raw filter items
    of the API; see `check_filter`. The first read checks that the server applies them; see
    `FilterIgnoredError`.

    The server sends no transcripts and no recordings in this list. Raises `ValueError` or `TypeError` for a
    bad id, an empty search text, and a filter that the server would reject or silently ignore.

    Source: `GET /simulate/test-executions/{test_execution_id}/`.
    """

    __test__: ClassVar[bool] = False  # no test class, whatever pytest makes of its name
    kind: ClassVar[Literal["test_execution"]] = "test_execution"

    test_execution_id: str = attrs.field(converter=_check_test_execution_id)
    search: str | None = attrs.field(default=None, kw_only=True, converter=check_search)
    filters: tuple[Filter, ...] = attrs.field(default=(), kw_only=True, converter=check_filters)

    @property
    def ids(self) -> dict[str, str]:
        """The ids in the list's path, by argument name."""
        return {"test_execution_id": self.test_execution_id}

    @property
    def label(self) -> str:
        """A short description of the list, without search text and filters, which may be personal data."""
        return f"test execution {self.test_execution_id}"

    def to_dict(self) -> dict[str, object]:
        """Return kind, ids, search and filters as a dict for JSON."""
        filters = [item.to_dict() for item in self.filters]
        return {"kind": self.kind, **self.ids, "search": self.search, "filters": filters}

    def __str__(self) -> str:
        described = _described(self.label, search=self.search)
        return described + (f" where {' and '.join(map(str, self.filters))}" if self.filters else "")


CallSource: TypeAlias = RunTestCalls | AgentVersionCalls | TestExecutionCalls
"""A list of calls to read."""


_KINDS: Final[Mapping[str, type[CallSource]]] = {
    kind.kind: kind for kind in (RunTestCalls, AgentVersionCalls, TestExecutionCalls)
}


def source_from_dict(fields: Mapping[str, object]) -> CallSource:
    """Return the source for a dict that ``to_dict()`` made, as in manifests and normalised lines.

    Keys that are not arguments of the source, such as ``index``, are ignored. Raises `ValueError` or
    `TypeError` if the dict describes no source.
    """
    if not isinstance(fields, Mapping):
        raise TypeError(f"A source's dict must be a mapping, not {brief(fields)}.")
    kind = _KINDS.get(str(fields.get("kind")))
    if kind is None:
        raise ValueError(
            f"kind must be one of {', '.join(map(repr, _KINDS))}, not {brief(fields.get('kind'))}."
        )
    names = [field.name for field in attrs.fields(kind)]
    given: dict[str, Any] = {name: fields[name] for name in names if name in fields}
    if missing := [name for name in names if name.endswith("_id") and name not in given]:
        raise ValueError(f"{missing[0]} is missing in the dict of a source.")
    return kind(**given)


def _described(label: str, **choices: str | None) -> str:
    return ", ".join(
        [label, *(f"{key} {brief(value)}" for key, value in choices.items() if value is not None)]
    )


def check_sources(sources: Iterable[CallSource] | CallSource) -> tuple[CallSource, ...]:
    """Return the sources as a tuple, or raise `TypeError` for an item that is not a source."""
    kinds = "RunTestCalls, AgentVersionCalls or TestExecutionCalls"
    if isinstance(sources, CallSource):
        return (sources,)
    if not isinstance(sources, Iterable):
        raise TypeError(f"sources must be a list of {kinds}, not {type(sources).__name__}.")
    given = tuple(sources)
    for source in given:
        if not isinstance(source, CallSource):
            raise TypeError(f"A source is {kinds}, not {type(source).__name__}.")
    return given


def check_changed_since(since: Mapping[CallSource, datetime] | None) -> dict[CallSource, float]:
    """Return the times as Unix seconds. Raise if a value is not a datetime or has no time zone."""
    if since is not None and not isinstance(since, Mapping):
        raise TypeError(f"changed_since must map sources to times, not {type(since).__name__}.")
    seconds: dict[CallSource, float] = {}
    for source, moment in (since or {}).items():
        check_sources([source])
        check_kind("A time of changed_since", moment, datetime)
        if moment.tzinfo is None:
            raise ValueError("A time of changed_since needs a time zone: datetime(..., tzinfo=UTC).")
        seconds[source] = moment.timestamp()
    return seconds
