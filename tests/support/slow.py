"""What the suite leaves to ``nox -s slow``: values of a parameter, and most of hypothesis's examples."""

from typing import Any

import pytest
from hypothesis import settings


def slow(*values: Any) -> list[Any]:
    """Mark values, for `pytest.mark.parametrize`: others of the same list show what is true in less time."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def examples(most: int) -> int:
    """Return how many examples hypothesis makes: all of them with ``--hypothesis-profile=slow``."""
    return most * settings.default.max_examples // settings.get_profile("slow").max_examples
