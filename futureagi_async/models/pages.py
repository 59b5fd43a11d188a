"""Pages: the responses to list requests."""

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
    """A record of a page that could not be decoded. The page's other records are not affected."""

    index: int
    """Position on the page, from 0."""
    id: str | None
    """The record's id, if it could be read."""
    error: DecodingError
    raw: bytes = attrs.field(repr=False)
    """The record's JSON as the server sent it."""


@attrs.define(frozen=True, kw_only=True)
class Page(Plain):
    """Fields that the pages of all lists have."""

    count: int
    """Rows of the whole list according to the server. It may deliver fewer."""
    has_next: bool
    """Whether the server announced a next page. (Its URL is not followed, and not stored.)"""
    total_pages: int
    """As sent, else calculated from ``count`` and the page size."""
    current_page: int
    """Page number from 1: as sent, else the requested one."""
    misfits: Mapping[str, JsonValue] = EMPTY
    """Sent values of a type that a field of the page can't hold, by name or path, such as
    ``{"column_order[3].visible": "yes"}``. Misfits of the calls are in each call."""


@attrs.define(frozen=True, kw_only=True)
class CallPage(Page):
    """One page of a list of calls."""

    calls: tuple[CallExecution, ...] = attrs.field(repr=lambda calls: f"<{len(calls)} calls>")
    failures: tuple[RecordFailure, ...] = ()
    """Records that could not be decoded."""
    error_messages: tuple[str, ...] = ()
    """The server's messages about filters that it could not apply; only for test executions."""
    elapsed: float | None = attrs.field(default=None, eq=False)
    """Seconds from sending the request to the end of the response; of the last attempt only."""


@attrs.define(frozen=True, kw_only=True)
class TestExecutionPage(CallPage):
    """A test execution with one page of its calls, which have no transcripts.

    Source: ``GET /simulate/test-executions/{test_execution_id}/``.
    """

    __test__ = False

    status: str | None = None
    """An `ExecutionStatus` value, or a newer one that this package does not know."""
    provider: str | None = None
    """The agent's provider, such as ``vapi`` or ``prompt``; ``None`` after the last page."""
    agent_type: str | None = None
    """``voice`` or ``text``; ``None`` after the last page."""
    column_order: tuple[Column, ...] = attrs.field(default=(), repr=_short_columns)
    """The columns; one without a usable id is in ``misfits`` instead."""


@attrs.define(frozen=True, kw_only=True)
class GroupPage(Page):
    """One page of grouped rows of a test execution.

    The served API groups the rows of *all* test executions, and ignores filters. So these numbers may not
    be those of the one test execution.

    Source: ``GET /simulate/test-executions/{test_execution_id}/`` with ``row_groups``.
    """

    groups: tuple[Mapping[str, JsonValue], ...] = attrs.field(repr=lambda groups: f"<{len(groups)} groups>")
    """Aggregates, one mapping per group. The keys depend on the columns of the execution."""
    column_order: tuple[Column, ...] = attrs.field(default=(), repr=_short_columns)
    error_messages: tuple[str, ...] = ()
    """The server's messages about filters that it could not apply."""
