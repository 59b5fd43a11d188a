"""Lists of calls named as people name them: frozen values for `Session.find_sources` to look up."""

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
    """Return an id in its canonical form, or a name without spaces around it.

    Raises `TypeError` or `ValueError` for no text, an empty one, and what looks like an id but is none.
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
    """Read how long ago (``12h``, ``30d``, ``4w``) or a moment (ISO 8601; UTC where it names no zone)."""
    if ago := _AGO.fullmatch(text.strip()):
        return timedelta(hours=int(ago[1]) * _HOURS[ago[2]])
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"since must be how long ago (12h, 30d, 4w) or a moment (2026-01-31), not {brief(text)}."
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
        raise ValueError("since must name its zone: datetime(..., tzinfo=UTC).")
    if isinstance(value, timedelta) and value < timedelta(0):
        raise ValueError(f"since must not be negative: it is how long ago, not {value}.")
    return value


@attrs.frozen
class RunTestNamed:
    """All calls of the run test with this name, or this id; otherwise as `RunTestCalls`."""

    run_test: str = attrs.field(converter=_run_test)
    search: str | None = attrs.field(default=None, kw_only=True, converter=check_search)
    status: str | None = attrs.field(default=None, kw_only=True, converter=check_one_state)

    def as_source(self) -> "RunTestCalls | Self":
        """Return the source itself where an id names it already, and there is nothing to look up."""
        if not is_id(self.run_test):
            return self
        return RunTestCalls(self.run_test, search=self.search, status=self.status)


@attrs.frozen
class AgentVersionNamed:
    """The calls of a version of the agent with this name, or this id; see `AgentVersionCalls`.

    ``version`` is a version's name (``v3``), its id, or ``latest``.
    """

    agent: str = attrs.field(converter=_agent)
    version: str = attrs.field(converter=_version)

    def as_source(self) -> "AgentVersionCalls | Self":
        """Return the source itself where two ids name it already, and there is nothing to look up."""
        if not (is_id(self.agent) and is_id(self.version)):
            return self
        return AgentVersionCalls(self.agent, self.version)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``AGENT:VERSION``; the last colon counts, since an agent's name may have some."""
        agent, colon, version = text.rpartition(":")
        if not colon:
            raise ValueError(
                "an agent version is AGENT:VERSION, two ids or names with a colon between, such as "
                f"'Support bot:latest', not {brief(text)}."
            )
        return cls(agent, version)


@attrs.frozen
class LatestExecution:
    """The calls of the last execution of the run test with this name, or this id.

    Otherwise as `TestExecutionCalls`.
    """

    run_test: str = attrs.field(converter=_run_test)
    search: str | None = attrs.field(default=None, kw_only=True, converter=check_search)
    filters: tuple[Filter, ...] = attrs.field(default=(), kw_only=True, converter=check_filters)

    @classmethod
    def parse(
        cls, text: str, *, search: str | None = None, filters: Iterable[FilterLike] = ()
    ) -> "TestExecutionCalls | Self":
        """Read ``latest:RUN_TEST``, or a test execution's id, which needs no looking up."""
        word, colon, run_test = text.partition(":")
        if colon and word.strip() == LATEST:
            return cls(run_test, search=search, filters=filters)
        return TestExecutionCalls(text.strip(), search=search, filters=filters)


@attrs.frozen
class AllSources:
    """Every run test and agent version that the keys' workspace has; see `Session.all_sources`."""

    kinds: tuple[SourceKind, ...] = attrs.field(default=get_args(SourceKind), converter=_kinds)
    since: datetime | timedelta | None = attrs.field(default=None, converter=_since)


SourceName: TypeAlias = RunTestNamed | AgentVersionNamed | LatestExecution | AllSources
"""What has to be looked up before it can be read."""
