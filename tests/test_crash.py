"""A slice of ``python -m tests.crash``: exports that are killed go on to what they would have been."""

import pytest

from tests.crash import WAYS, Way, is_good, run_all, table


@pytest.mark.parametrize("way", [WAYS[1], WAYS[2]], ids=lambda way: way.name)
def test_killed_exports_go_on(way: Way) -> None:
    """Killed by SIGKILL at some of all moments, nothing is lost, doubled, or seen unfinished."""
    tallies = run_all(random_kills=0, every=37, seed=1, ways=(way,))
    assert all(map(is_good, tallies.values())), list(table(tallies))
