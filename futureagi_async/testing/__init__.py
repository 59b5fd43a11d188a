"""A stand-in for the vendor's server, for tests, demos and documentation: real HTTP on loopback."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from futureagi_async.testing._standin.clock import VirtualClock
    from futureagi_async.testing._standin.motion import Motion
    from futureagi_async.testing._standin.request_log import ServedRequest
    from futureagi_async.testing._standin.runs import Run
    from futureagi_async.testing._standin.server import StandInServer
    from futureagi_async.testing._standin.web.cost import ServerCost

__all__ = ["Motion", "Run", "ServedRequest", "ServerCost", "StandInServer", "VirtualClock"]

_HOMES = {
    "Motion": "motion",
    "Run": "runs",
    "ServedRequest": "request_log",
    "ServerCost": "web.cost",
    "StandInServer": "server",
    "VirtualClock": "clock",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: every pytest run loads the pytest plugin of this package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}._standin.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
