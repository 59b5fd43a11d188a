"""Answers before they are sent: error bodies, HTML pages, and links to neighbouring pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from attrs import field, frozen

from futureagi_async.testing._standin.wire.dialect import DialectName, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from futureagi_async.testing._standin.web.request import RequestContext

JSON = "application/json"
HTML = "text/html; charset=utf-8"

ERROR_TYPES = {
    400: "validation_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found",
    405: "api_error",
    406: "api_error",
    500: "server_error",
}
"""The statuses that the API itself refuses with, and what it calls them."""
_CODES = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable", 500: "server_error"}


@frozen
class Answer:
    """Status, body and the headers that are not the same for every answer; `rows` is what it cost."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(factory=dict)
    closes: bool = False
    rows: int = 0


def json_answer(value: Any) -> Answer:
    return Answer(200, to_json(value))


def page_answer(head: dict[str, Any], rows: list[bytes], tail: dict[str, Any]) -> Answer:
    """Put an envelope around rows that are JSON already."""
    parts = [to_json(head)[:-1], b',"results":[', b",".join(rows), b"]"]
    if tail:
        parts += [b",", to_json(tail)[1:-1]]
    return Answer(200, b"".join([*parts, b"}"]), rows=len(rows))


def refusal(
    dialect: DialectName,
    status: int,
    message: str,
    *,
    code: str | None = None,
    details: Mapping[str, list[str]] | None = None,
) -> Answer:
    """Build an error of the API: the served envelope says everything four times, the documented one once.

    `details` maps fields to messages; the first field becomes `attr` in a validation error.
    """
    if dialect == "documented":
        return Answer(status, to_json({"detail": message}))
    body: dict[str, Any] = {
        "status": False,
        "type": ERROR_TYPES[status],
        "code": code or _CODES.get(status, "invalid"),
        **dict.fromkeys(("detail", "message", "error", "result"), message),
    }
    if details and status == 400:
        body["attr"] = next(iter(details))
    if details:
        body["details"] = dict(details)
    return Answer(status, to_json(body))


def detailed_refusal(dialect: DialectName, status: int, message: str, *, code: str | None = None) -> Answer:
    """Build an error the framework raises, which repeats its message once more in `details`."""
    return refusal(dialect, status, message, code=code, details={"detail": [message]})


def html_page(status: int, title: str, text: str = "") -> Answer:
    """Build the page that web frameworks and proxies send where a client hoped for JSON."""
    body = f'<!doctype html>\n<html lang="en">\n<head><title>{title}</title></head>\n'
    return Answer(status, f"{body}<body>\n<h1>{title}</h1><p>{text}</p>\n</body>\n</html>\n".encode(), HTML)


@frozen
class Links:
    """The addresses of the neighbouring pages, or `None`."""

    next: str | None
    previous: str | None

    def head(self, count: int) -> dict[str, Any]:
        """Return what every page begins with."""
        return {"count": count, "next": self.next, "previous": self.previous}


def handmade_links(context: RequestContext, page: int, *, more: bool) -> Links:
    """Link as the run-test view does: query in its order, and a bare `?` when nothing is left of it."""

    def link(number: int) -> str:
        query = context.query | {"page": str(number)}
        if number == 1:
            query.pop("page")
        return f"{context.url}?{urlencode(query)}"

    return Links(link(page + 1) if more else None, link(page - 1) if page > 1 else None)


def framework_links(context: RequestContext, page: int, *, more: bool) -> Links:
    """Link as the framework's paginator does: query sorted, no `page` for the first page."""

    def link(number: int) -> str:
        pairs = [pair for pair in context.pairs if pair[0] != "page"]
        if number > 1:
            pairs.append(("page", str(number)))
        query = urlencode(sorted(pairs, key=lambda pair: pair[0]))
        return f"{context.url}?{query}" if query else context.url

    return Links(link(page + 1) if more else None, link(page - 1) if page > 1 else None)


def relative_links(page: int, *, more: bool) -> Links:
    """Link as the grouped view does: relative, and without any other parameter."""
    return Links(f"?page={page + 1}" if more else None, f"?page={page - 1}" if page > 1 else None)
