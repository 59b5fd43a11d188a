"""The served lists of run tests and agent versions: paging as the vendor's two views do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from futureagi_async.testing._standin.query.search import found_on_run_test
from futureagi_async.testing._standin.web.answers import Answer, detailed_refusal, refusal
from futureagi_async.testing._standin.web.links import Links, framework_links, handmade_links
from futureagi_async.testing._standin.wire.dialect import RowKind, page_json

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.listing import Listing
    from futureagi_async.testing._standin.data.records import Row
    from futureagi_async.testing._standin.web.backend import Backend, Condition
    from futureagi_async.testing._standin.web.request import Visit

_BIGGEST = 2**63 - 1
_DEFAULT_LIMIT = 10


def run_test_calls(backend: Backend, visit: Visit, ids: tuple[str, ...]) -> Answer:
    """Answer a page of a run test: places, then what stands there by then, then the count.

    Nothing is validated; what SQL or `int` choke on becomes a 500 with their words.
    """
    run_test = backend.world.run_tests.get(ids[0])
    if run_test is None:
        return refusal("served", 404, "Run test not found")
    try:
        page, limit = int(visit.query.get("page", "1")), int(visit.query.get("limit", "10"))
        _check_for_sql(page, limit, visit.query.get("search", ""))
    except ValueError as error:
        return refusal("served", 500, f"Failed to retrieve call executions: {error}")
    wanted = run_test_condition(visit)
    name = (visit.query.get("status"), visit.query.get("search"))
    listing, offset = run_test.listing, (page - 1) * limit
    visit.plan(listing, statements=3)
    visit.look()
    places = backend.select(listing, offset, limit, wanted, name)
    visit.look()
    rows = [row for row in places if listing.rule.delivers(row.state)]
    body = [backend.dialect.row(row, "run_test") for row in rows]
    visit.look()
    count = backend.count(listing, wanted, name)
    links = handmade_links(visit, page, more=offset + limit < count)
    total = -(-count // limit) if limit else 1
    return _page(count, links, body, total, page)


def _check_for_sql(page: int, limit: int, search: str) -> None:
    if "\x00" in search:
        raise ValueError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    if limit < 0:
        raise ValueError("LIMIT must not be negative")
    if (page - 1) * limit < 0:
        raise ValueError("OFFSET must not be negative")
    if max(limit, (page - 1) * limit) > _BIGGEST:
        raise ValueError("bigint out of range")


def run_test_condition(visit: Visit) -> Condition | None:
    """Build the condition of `status` and `search`; empty ones are none."""
    status, search = visit.query.get("status"), visit.query.get("search", "").strip()
    found = found_on_run_test(search) if search else None
    if not status:
        return found

    def wanted(row: Row) -> bool:
        return row.state.status == status and (found is None or found(row))

    return wanted


def version_calls(backend: Backend, visit: Visit, ids: tuple[str, ...]) -> Answer:
    """Answer a page of an agent version: the count, then rows up to that count."""
    version = backend.world.versions.get((ids[0], ids[1]))
    if version is None:
        return refusal("served", 404, "Agent version not found.")
    listing, limit = version.listing, _framework_limit(visit.query.get("limit"))
    visit.plan(listing, statements=2)
    visit.look()
    count = backend.count(listing, None, None)
    page = _framework_page(visit.query.get("page") or "1", count, limit)
    if page is None:
        return detailed_refusal("served", 404, "Invalid page.")
    body = framework_rows(backend, visit, listing, count, page, limit, "version")
    links = framework_links(visit, page, more=page * limit < count)
    return _page(count, links, body, max(1, -(-count // limit)), page)


def _framework_limit(text: str | None) -> int:
    """Whatever is not a positive number silently means the default."""
    try:
        limit = int(text or "")
    except ValueError:
        return _DEFAULT_LIMIT
    return limit if limit > 0 else _DEFAULT_LIMIT


def _framework_page(text: str, count: int, limit: int) -> int | None:
    """Read a page number as the framework does; `None` for one that does not exist."""
    last = max(1, -(-count // limit))
    try:
        page = last if text == "last" else int(text)
    except ValueError:
        return None
    return page if 1 <= page <= last else None


def framework_rows(
    backend: Backend,
    visit: Visit,
    listing: Listing,
    count: int,
    page: int,
    limit: int,
    kind: RowKind,
    wanted: Condition | None = None,
    name: object = None,
) -> list[bytes]:
    """Read the second statement's rows: its LIMIT is cut to the count of the first, whatever came since."""
    offset = (page - 1) * limit
    visit.look()
    rows = backend.select(listing, offset, min(limit, count - offset), wanted, name)
    return [backend.dialect.row(row, kind) for row in rows]


def _page(count: int, links: Links, rows: list[bytes], total_pages: int, page: int) -> Answer:
    return Answer(200, page_json(links.head(count), rows, {"total_pages": total_pages, "current_page": page}))
