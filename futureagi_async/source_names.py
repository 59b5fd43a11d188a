"""Names of lists of calls: frozen values that `Session.find_sources` looks up."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, Self, TypeAlias, get_args

import attrs

from futureagi_async.filters import Filter, FilterLike
from futureagi_async.options import brief, canonical_uuid, check_word, is_sendable
from futureagi_async.sources import (
    AgentVersionCalls,
    RunTestCalls,
    TestExecutionCalls,
    check_filters,
    check_id,
    check_one_state,
    check_search,
)

SourceKind: TypeAlias = Literal["run_tests", "agent_versions"]
"""What `Session.all_sources` can find."""

LATEST = "latest"
_LIKE_AN_ID = re.compile(r"[0-9a-fA-F-]{30,}")


def check_name(value: str, name: str) -> str:
    """Return an id in its canonical form, or a name without surrounding spaces.

    Raises `TypeError` if the value is not text, and `ValueError` if it is empty or a malformed id.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a name or an id, not {brief(value)}.")
    text = value.strip()
    if not text or not is_sendable(text):
        raise ValueError(f"{name} must be a name or an id, not {brief(value)}.")
    if _LIKE_AN_ID.fullmatch(text):
        return check_id(text, name)
    return text


def is_id(name_or_id: str) -> bool:
    """Whether a checked name is an id."""
    return canonical_uuid(name_or_id) is not None


def _run_test(value: str) -> str:
    return check_name(value, "run_test")


def _agent(value: str) -> str:
    return check_name(value, "agent")


def _version(value: str) -> str:
    return check_name(value, "version")


_AGO = re.compile(r"([0-9]{1,6})\s*([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


def parse_since(text: str) -> datetime | timedelta:
    """Read a duration before now (``12h``, ``30d``, ``4w``) or an ISO 8601 time (UTC if it has no zone)."""
    if ago := _AGO.fullmatch(text.strip()):
        return timedelta(hours=int(ago[1]) * _HOURS[ago[2]])
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"since must be a duration before now (12h, 30d, 4w) or a time (2026-01-31), not {brief(text)}."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _kinds(values: Iterable[SourceKind]) -> tuple[SourceKind, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"kinds must be a list, such as ['run_tests'], not {brief(values)}.")
    checked: list[SourceKind] = [check_word("kinds", kind, SourceKind) for kind in values]
    kinds: tuple[SourceKind, ...] = tuple(dict.fromkeys(checked))
    if not kinds:
        raise ValueError("kinds must not be empty: leave it out for all.")
    return kinds


def _since(value: datetime | timedelta | None) -> datetime | timedelta | None:
    if value is not None and not isinstance(value, datetime | timedelta):
        raise TypeError(f"since must be a datetime, a timedelta or None, not {brief(value)}.")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("since needs a time zone: datetime(..., tzinfo=UTC).")
    if isinstance(value, timedelta) and value < timedelta(0):
        raise ValueError(f"since must be a duration before now, 0 or more, not {value}.")
    return value


@attrs.frozen
class RunTestNamed:
    """All calls of the run test with this name or id. Otherwise as `RunTestCalls`."""

    run_test: str = attrs.field(converter=_run_test)
    search: str | None = attrs.field(default=None, kw_only=True, converter=check_search)
    status: str | None = attrs.field(default=None, kw_only=True, converter=check_one_state)

    def as_source(self) -> "RunTestCalls | Self":
        """Return the source if the run test is given by its id, else this name."""
        if not is_id(self.run_test):
            return self
        return RunTestCalls(self.run_test, search=self.search, status=self.status)


@attrs.frozen
class AgentVersionNamed:
    """The calls of one version of the agent with this name or id; see `AgentVersionCalls`.

    ``version`` is the name of a version (``v3``), its id, or ``latest``.
    """

    agent: str = attrs.field(converter=_agent)
    version: str = attrs.field(converter=_version)

    def as_source(self) -> "AgentVersionCalls | Self":
        """Return the source if agent and version are given by their ids, else this name."""
        if not (is_id(self.agent) and is_id(self.version)):
            return self
        return AgentVersionCalls(self.agent, self.version)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``AGENT:VERSION``, split at the last colon, because an agent's name may contain colons."""
        agent, colon, version = text.rpartition(":")
        if not colon:
            raise ValueError(
                "an agent version has the form AGENT:VERSION, two ids or names with a colon between, such as "
                f"'Support bot:latest', not {brief(text)}."
            )
        return cls(agent, version)


@attrs.frozen
class LatestExecution:
    """The calls of the latest execution of the run test with this name or id.

    Otherwise as `TestExecutionCalls`.
    """

    run_test: str = attrs.field(converter=_run_test)
    search: str | None = attrs.field(default=None, kw_only=True, converter=check_search)
    filters: tuple[Filter, ...] = attrs.field(default=(), kw_only=True, converter=check_filters)

    @classmethod
    def parse(
        cls, text: str, *, search: str | None = None, filters: Iterable[FilterLike] = ()
    ) -> "TestExecutionCalls | Self":
        """Read ``latest:RUN_TEST``, or the id of a test execution, which needs no lookup."""
        word, colon, run_test = text.partition(":")
        if colon and word.strip() == LATEST:
            return cls(run_test, search=search, filters=filters)
        return TestExecutionCalls(text.strip(), search=search, filters=filters)


@attrs.frozen
class AllSources:
    """Every run test and every agent version of the workspace; see `Session.all_sources`."""

    kinds: tuple[SourceKind, ...] = attrs.field(default=get_args(SourceKind), converter=_kinds)
    since: datetime | timedelta | None = attrs.field(default=None, converter=_since)


SourceName: TypeAlias = RunTestNamed | AgentVersionNamed | LatestExecution | AllSources
"""A name that `Session.find_sources` looks up."""
