"""Which values of a parameter the suite leaves to ``nox -s slow``."""

from typing import Any

import pytest


def slow(*values: Any) -> list[Any]:
    """Mark values, for `pytest.mark.parametrize`: others of the same list show what is true in less time."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]
