"""The five endpoints of each dialect: a route's answer, once keys and method are in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from futureagi_async.testing._standin.web import documented_lists, served_execution, served_lists
from futureagi_async.testing._standin.web.answers import Answer, json_answer, refusal
from futureagi_async.testing._standin.web.backend import Backend
from futureagi_async.testing._standin.web.request import Visit

if TYPE_CHECKING:
    from futureagi_async.testing._standin.web.routes import EndpointName, Route
    from futureagi_async.testing._standin.wire.dialect import DialectName

Endpoint = Callable[[Backend, Visit, tuple[str, ...]], Answer]


def answer_route(backend: Backend, visit: Visit, route: Route) -> Answer:
    return _ENDPOINTS[backend.dialect.name][route.endpoint](backend, visit, route.ids)


def _call_execution(backend: Backend, visit: Visit, ids: tuple[str, ...]) -> Answer:
    """Answer a call's detail; deleted calls and ids of snapshots are unknown here."""
    visit.look()
    call = backend.world.calls.get(ids[0])
    if call is None or call.state.deleted or not call.state.exists:
        return refusal(backend.dialect.name, 404, "Call execution not found")
    return Answer(200, backend.dialect.row(call, "detail"))


def _kpis(backend: Backend, visit: Visit, ids: tuple[str, ...]) -> Answer:
    visit.look()
    execution = backend.world.executions.get(ids[0])
    if execution is None:
        return refusal(backend.dialect.name, 404, "Test execution not found.")
    return json_answer(backend.dialect.write_kpis(execution))


_ENDPOINTS: dict[DialectName, dict[EndpointName, Endpoint]] = {
    "served": {
        "call_execution": _call_execution,
        "run_test": served_lists.run_test_calls,
        "version": served_lists.version_calls,
        "execution": served_execution.test_execution,
        "kpis": _kpis,
    },
    "documented": {
        "call_execution": _call_execution,
        "run_test": documented_lists.run_test_calls,
        "version": documented_lists.version_calls,
        "execution": documented_lists.test_execution,
        "kpis": _kpis,
    },
}
