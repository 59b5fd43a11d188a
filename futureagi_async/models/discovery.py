"""Run tests, their executions, agents and their versions."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import ClassVar

import attrs

from futureagi_async.filters import FilterLike
from futureagi_async.models.plain import Plain
from futureagi_async.models.values import EMPTY, JsonValue
from futureagi_async.sources import AgentVersionCalls, RunTestCalls, TestExecutionCalls


@attrs.define(frozen=True, kw_only=True)
class Listed(Plain):
    """Fields that the items of all these lists have.

    Secrets and phone numbers in the response are discarded: ``api_key``, ``websocket_headers``,
    ``contact_number``, an agent's configuration, and every other key whose name suggests a secret.
    """

    id: str
    extra: Mapping[str, JsonValue] = attrs.field(default=EMPTY, repr=False)
    """All other keys, without secrets."""
    misfits: Mapping[str, JsonValue] = EMPTY
    """Sent values of a type that the documents do not allow, by field name. The field is ``None`` then."""


@attrs.define(frozen=True, kw_only=True)
class RunTest(Listed):
    """A run test: an agent or a prompt, and the scenarios it is simulated with.

    Source: ``GET /simulate/run-tests/``.
    """

    name: str | None = None
    """Not necessarily unique."""
    description: str | None = None
    agent_definition_id: str | None = None
    """``None`` for a run test of a prompt."""
    agent_version_id: str | None = None
    """The version that the run test uses now; earlier executions may have used others."""
    source_type: str | None = None
    """``agent_definition`` or ``prompt``."""
    last_run_at: datetime | None = None
    created_at: datetime | None = None

    def calls(self, *, search: str | None = None, status: str | None = None) -> RunTestCalls:
        """Return the calls of all its executions as a source to read."""
        return RunTestCalls(self.id, search=search, status=status)


@attrs.define(frozen=True, kw_only=True)
class TestExecution(Listed):
    """One execution of a run test.

    Source: ``GET /simulate/run-tests/{run_test_id}/executions/``.
    """

    __test__: ClassVar[bool] = False  # no test class, whatever pytest makes of its name

    run_test_id: str
    status: str | None = None
    """An `ExecutionStatus` value in lower case, or a newer one that this package does not know."""
    started_at: datetime | None = None
    duration: float | None = None
    """Seconds."""
    success_rate: float | None = None
    """0 to 100."""
    agent_definition: str | None = None
    """The agent's name; ``None`` for a prompt."""
    agent_version: str | None = None
    """The version's name; ``None`` if the server does not send it."""

    def calls(self, *, search: str | None = None, filters: Iterable[FilterLike] = ()) -> TestExecutionCalls:
        """Return its calls as a source to read."""
        return TestExecutionCalls(self.id, search=search, filters=filters)


@attrs.define(frozen=True, kw_only=True)
class AgentDefinition(Listed):
    """An agent; its calls are listed by version.

    Source: ``GET /simulate/agent-definitions/``.
    """

    name: str | None = None
    """Not necessarily unique."""
    agent_type: str | None = None
    """``voice`` or ``text``."""
    provider: str | None = None
    inbound: bool | None = None
    latest_version: int | None = None
    """The number of the latest version."""
    latest_version_id: str | None = None


@attrs.define(frozen=True, kw_only=True)
class AgentVersion(Listed):
    """One version of an agent.

    Source: ``GET /simulate/agent-definitions/{agent_id}/versions/``.
    """

    agent_id: str
    version_number: int | None = None
    name: str | None = None
    """For example ``v3``."""
    status: str | None = None
    """``draft``, ``active``, ``archived`` or ``deprecated``."""
    is_active: bool | None = None
    is_latest: bool | None = None
    created_at: datetime | None = None

    def calls(self) -> AgentVersionCalls:
        """Return its completed and evaluated calls as a source to read."""
        return AgentVersionCalls(self.agent_id, self.id)
