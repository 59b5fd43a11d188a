"""A strict look at the keys of what is small: key figures, and a list's envelope without its records.

The JSON decoder takes the last of two equal keys, silently. Of two counts nobody knows which is meant.
"""

import json
from collections import Counter
from collections.abc import Sequence

from msgspec import Raw

from futureagi_async.errors import DecodingError


def check_keys(body: bytes, records: Sequence[Raw], endpoint: str) -> None:
    """Raise `DecodingError` where an object of the answer, its records left out, has a key twice."""
    twice: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        if len(pairs) > len(dict(pairs)):
            twice.extend(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)

    try:
        json.loads(_without(records, body), object_pairs_hook=note)
    except (ValueError, RecursionError):
        return  # something else of it looks like a record: it was not cut where it should
    if twice:
        problem = f"The key {twice[0][:40]!r} stands there twice"
        raise DecodingError.at(problem, endpoint=endpoint, retryable=True)


def _without(records: Sequence[Raw], body: bytes) -> bytes:
    if not records:
        return body
    first, last = bytes(records[0]), bytes(records[-1])
    return body[: body.find(first)] + body[body.rfind(last) + len(last) :]
