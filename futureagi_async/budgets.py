"""The interface of a request budget: several sessions share one limit of requests per minute."""

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
    """The answer of a budget: how many requests may be sent now, or when to ask again."""

    granted: int = attrs.field(validator=_check_granted)
    """Number of requests that may be sent. They lapse 2 s after the lease was asked for."""
    wait_seconds: float = attrs.field(default=0.0, validator=_check_wait)
    """If ``granted`` is 0: seconds after which to ask again."""


@runtime_checkable
class RequestBudget(Protocol):
    """One limit of requests per minute, for all sessions that use the same budget.

    A session leases requests before it sends them; a retry needs a lease, too. One lease covers as many
    requests as the session has in flight or waiting. A lease lapses 2 s after the session asked for it. So a
    budget that counts requests when it grants them knows the time of sending to within 2 s, plus the time
    that its answer takes to arrive.

    If a method raises, or does not return within ``Timeouts.attempt``, the request fails with `BudgetError`.
    A budget that can recover from a fault (such as the restart of an actor) must do so itself.
    """

    async def lease(self, most: int) -> Lease:
        """Grant 1 to ``most`` requests, or none and the seconds to wait. Return without waiting."""
        ...

    async def give_back(self, unused: int) -> None:
        """Take back leased requests that will not be sent.

        A session gives back requests that it did not use for a second, requests that lapsed, and, when it is
        closed, the rest. An error of this method is logged and has no other effect.
        """
        ...

    async def pause(self, seconds: float) -> None:
        """Grant nothing to any session for so many seconds: the server asked one of them to wait."""
        ...
