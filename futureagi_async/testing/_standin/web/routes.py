"""Which endpoint a path means; ids are lower-case UUIDs or the path means nothing."""

from __future__ import annotations

import re
from typing import Literal

from attrs import frozen

EndpointName = Literal["call_execution", "run_test", "version", "execution", "kpis"]

_ID = "([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"

_PATHS: dict[EndpointName, re.Pattern[str]] = {
    "call_execution": re.compile(rf"/simulate/call-executions/{_ID}/"),
    "run_test": re.compile(rf"/simulate/run-tests/{_ID}/call-executions/"),
    "version": re.compile(rf"/simulate/agent-definitions/{_ID}/versions/{_ID}/call-executions/"),
    "execution": re.compile(rf"/simulate/test-executions/{_ID}/"),
    "kpis": re.compile(rf"/simulate/test-executions/{_ID}/kpis/"),
}


@frozen
class Route:
    """An endpoint and the ids in its path."""

    endpoint: EndpointName
    ids: tuple[str, ...]

    @property
    def allow(self) -> str:
        """The methods the endpoint announces."""
        return "GET, PATCH, HEAD, OPTIONS" if self.endpoint == "call_execution" else "GET, HEAD, OPTIONS"


def find_route(path: str) -> Route | None:
    """Find the endpoint of an undecoded path."""
    for endpoint, pattern in _PATHS.items():
        if match := pattern.fullmatch(path):
            return Route(endpoint, match.groups())
    return None
