"""What every row of a list has: an id, a place, and a state with its past."""

from __future__ import annotations

from typing import NamedTuple

from attrs import define, field

ALWAYS = float("-inf")
"""The moment since which sample data has been there."""


class State(NamedTuple):
    """What decides in which lists a row stands and whether it is delivered."""

    exists: bool
    deleted: bool
    status: str | None
    evaluated: bool


@define(eq=False, kw_only=True)
class Listed:
    """A row as lists see it. `timeline` holds its states, each with the virtual moment it holds from.

    `serial` is the row's number in the world, and `fragments` its JSON by kind of row, once written.
    """

    id: str
    key_us: int
    state: State
    timeline: list[tuple[float, State]]
    serial: int = -1
    fragments: dict[str, bytes] = field(factory=dict, repr=False)
