"""What a session asks before it sends a request, where several share a number of requests a minute."""

from typing import Protocol, runtime_checkable

import attrs


def _check_granted(_instance: object, _attribute: "attrs.Attribute[int]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"granted must be an int, not {type(value).__name__}.")
    if value < 0:
        raise ValueError(f"granted must be 0 or more, not {value}.")


def _check_wait(instance: "Lease", _attribute: "attrs.Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"wait_seconds must be a number of seconds, not {type(value).__name__}.")
    if not 0 <= value < float("inf"):
        raise ValueError(f"wait_seconds must be a finite number of seconds, 0 or more, not {value!r}.")
    if not instance.granted and not value:
        raise ValueError("A lease of no request must say in wait_seconds when to ask again.")


@attrs.define(frozen=True)
class Lease:
    """What a budget grants: so many requests now, or none, and when to ask again."""

    granted: int = attrs.field(validator=_check_granted)
    """Requests that may be sent; they lapse 2 s after they were asked for."""
    wait_seconds: float = attrs.field(default=0.0, validator=_check_wait)
    """Where none is granted: ask again after so long."""


@runtime_checkable
class RequestBudget(Protocol):
    """How many requests may be sent: one allowance for all sessions that hold the same budget.

    A session asks before each try of a request, retries included; no request is sent without. It leases
    several at a time, as many as it has in flight or waiting, and never sends one on a lease that was asked
    for more than 2 s ago. So a budget that counts a request when it grants it knows within 2 s, and what the
    answer takes to arrive, when it is sent.

    A method that raises, or does not answer within ``Timeouts.attempt``, ends the request with a
    `BudgetError`. A budget that knows how to outlast a fault (an actor that is restarted) does so itself.
    """

    async def lease(self, most: int) -> Lease:
        """Grant from 1 to ``most`` requests, or none and the seconds to wait; return without waiting."""
        ...

    async def give_back(self, unused: int) -> None:
        """Take back requests of a lease that will not be sent.

        A session gives back what it did not use for a second, what lapsed, and the rest when it is closed.
        What it raises is logged and does no harm.
        """
        ...

    async def pause(self, seconds: float) -> None:
        """Grant nothing to anyone for so long: the server asked one of the sessions to wait."""
        ...
