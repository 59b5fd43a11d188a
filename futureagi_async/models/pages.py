"""Pages: what one list request gives."""

from collections.abc import Mapping

import attrs

from futureagi_async.errors import DecodingError
from futureagi_async.models.call import CallExecution
from futureagi_async.models.plain import Plain
from futureagi_async.models.values import EMPTY, Column, JsonValue


def _short_columns(columns: tuple[Column, ...]) -> str:
    return f"<{len(columns)} columns>"


@attrs.define(frozen=True)
class RecordFailure(Plain):
    """A record of a page that did not decode; the page's other records did."""

    index: int
    """Its place in the page, from 0."""
    id: str | None
    """Its id where that much could be read."""
    error: DecodingError
    raw: bytes = attrs.field(repr=False)
    """The record's JSON as the server sent it."""


@attrs.define(frozen=True, kw_only=True)
class Page(Plain):
    """What every page of a list tells."""

    count: int
    """Rows in the whole list when the server looked, which is not always how many it delivers."""
    has_next: bool
    """Whether the server announced a further page (its URL is not followed, nor shown)."""
    total_pages: int
    """As sent, else computed from ``count`` and the page size."""
    current_page: int
    """From 1; as sent, else the one asked for."""
    misfits: Mapping[str, JsonValue] = EMPTY
    """What was sent for the page's own fields that can't hold it, by name or path, such as
    ``{"column_order[3].visible": "yes"}``. Those of its calls are the calls' own."""


@attrs.define(frozen=True, kw_only=True)
class CallPage(Page):
    """One page of a list of calls."""

    calls: tuple[CallExecution, ...] = attrs.field(repr=lambda calls: f"<{len(calls)} calls>")
    failures: tuple[RecordFailure, ...] = ()
    """Records that did not decode."""
    error_messages: tuple[str, ...] = ()
    """What the server said about filters that it could not apply; test executions only."""
    elapsed: float | None = attrs.field(default=None, eq=False)
    """Seconds from the sending of the request until the whole answer was there; of the last try only."""


@attrs.define(frozen=True, kw_only=True)
class TestExecutionPage(CallPage):
    """A test execution with one page of its calls; the lists withhold transcripts.

    Source: ``GET /simulate/test-executions/{test_execution_id}/``.
    """

    __test__ = False

    status: str | None = None
    """An `ExecutionStatus` word, or one invented since."""
    provider: str | None = None
    """The agent's provider, such as ``vapi`` or ``prompt``; absent past the last page."""
    agent_type: str | None = None
    """``voice`` or ``text``; absent past the last page."""
    column_order: tuple[Column, ...] = attrs.field(default=(), repr=_short_columns)
    """Without columns of no usable id, which are misfits."""


@attrs.define(frozen=True, kw_only=True)
class GroupPage(Page):
    """One page of grouped rows of a test execution.

    The served API computes dataset groups over *all* test executions and ignores filters there, so
    treat its numbers with care.

    Source: ``GET /simulate/test-executions/{test_execution_id}/`` with ``row_groups``.
    """

    groups: tuple[Mapping[str, JsonValue], ...] = attrs.field(repr=lambda groups: f"<{len(groups)} groups>")
    """Aggregates, one mapping a group; the keys depend on the execution's columns."""
    column_order: tuple[Column, ...] = attrs.field(default=(), repr=_short_columns)
    error_messages: tuple[str, ...] = ()
