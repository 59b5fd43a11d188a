"""A slice of bad input: only documented errors leave the public API, soon, and in bounded memory."""

import pytest

from tests.faults.malformed import HTTP
from tests.fuzz import fuzz


@pytest.mark.anyio
async def test_a_slice_of_bad_input() -> None:
    """Malformed JSON in every place, cut pages, mutated bytes and shapes, and what is not HTTP."""
    done = await fuzz(share=0.01, seed=3)
    assert set(done.outcomes) >= {"value", "DecodingError", "APIConnectionError"}
    assert sum(done.outcomes.values()) > 1_000
    assert len(HTTP) >= 40
