"""`next` and `previous`, each in the spelling of the view that builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from attrs import frozen

if TYPE_CHECKING:
    from futureagi_async.testing._standin.web.request import Visit


@frozen
class Links:
    """The addresses of the neighbouring pages, or `None`."""

    next: str | None
    previous: str | None

    def head(self, count: int) -> dict[str, Any]:
        """Return what every page begins with."""
        return {"count": count, "next": self.next, "previous": self.previous}


def handmade_links(visit: Visit, page: int, *, more: bool) -> Links:
    """Link as the run-test view does: query in its order, and a bare `?` when nothing is left of it."""

    def link(number: int) -> str:
        query = visit.query | {"page": str(number)}
        if number == 1:
            query.pop("page")
        return f"{visit.url}?{urlencode(query)}"

    return Links(link(page + 1) if more else None, link(page - 1) if page > 1 else None)


def framework_links(visit: Visit, page: int, *, more: bool) -> Links:
    """Link as the framework's paginator does: query sorted, no `page` for the first page."""

    def link(number: int) -> str:
        pairs = [pair for pair in visit.pairs if pair[0] != "page"]
        if number > 1:
            pairs.append(("page", str(number)))
        query = urlencode(sorted(pairs, key=lambda pair: pair[0]))
        return f"{visit.url}?{query}" if query else visit.url

    return Links(link(page + 1) if more else None, link(page - 1) if page > 1 else None)


def relative_links(page: int, *, more: bool) -> Links:
    """Link as the grouped view does: relative, and without any other parameter."""
    return Links(f"?page={page + 1}" if more else None, f"?page={page - 1}" if page > 1 else None)
