"""Timeouts and retry policies: positive, finite numbers, refused by name."""

import math
from typing import Any

import attrs
import pytest

from futureagi_async.options import RetryPolicy, Timeouts

SECONDS = [
    (Timeouts, "connect"),
    (Timeouts, "read"),
    (Timeouts, "attempt"),
    (Timeouts, "deadline"),
    (RetryPolicy, "base_delay"),
    (RetryPolicy, "max_delay"),
    (RetryPolicy, "max_retry_after"),
]


@pytest.mark.parametrize(("kind", "name"), SECONDS)
@pytest.mark.parametrize("value", [0.001, 1, 3600.0])
def test_positive_seconds_are_taken(kind: Any, name: str, value: float) -> None:
    """A positive number of seconds is kept as given."""
    assert getattr(kind(**{name: value}), name) == value


@pytest.mark.parametrize(("kind", "name"), SECONDS)
@pytest.mark.parametrize("value", [0, -1, -0.5, math.inf, -math.inf, math.nan, 10**400])
def test_other_seconds_are_refused(kind: Any, name: str, value: float) -> None:
    """Zero, negative and endless waits are refused."""
    with pytest.raises(ValueError, match=f"{name} must be a positive number"):
        kind(**{name: value})


@pytest.mark.parametrize(("kind", "name"), SECONDS)
@pytest.mark.parametrize("value", ["5", None, True, [5]])
def test_seconds_are_numbers(kind: Any, name: str, value: Any) -> None:
    """Text, None and bools are no seconds."""
    with pytest.raises(TypeError, match=f"{name} must be a number of seconds"):
        kind(**{name: value})


@pytest.mark.parametrize(
    ("value", "kind"),
    [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError), ("4", TypeError)],
)
def test_attempts_are_counted_from_one(value: Any, kind: type[Exception]) -> None:
    """The number of tries is an int from 1, the first try included."""
    assert RetryPolicy(attempts=1).attempts == 1
    with pytest.raises(kind, match="attempts must be"):
        RetryPolicy(attempts=value)


def test_options_are_values() -> None:
    """Options compare by value, can be hashed, and refuse to be changed."""
    assert {Timeouts(), RetryPolicy()} == {Timeouts(), RetryPolicy()}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Timeouts().read = 5.0  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        RetryPolicy().attempts = 5  # type: ignore[misc]


def test_defaults_are_as_documented() -> None:
    """The documented defaults: one try within a minute, a call within two, four tries."""
    assert attrs.astuple(Timeouts()) == (10.0, 30.0, 60.0, 120.0)
    assert attrs.astuple(RetryPolicy()) == (4, 0.25, 20.0, 120.0)
