"""Turns the JSON decoder's complaints into `DecodingError` with endpoint and JSON path."""

import re

import msgspec

from futureagi_async.errors import DecodingError

JSON_FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError)
"""All that the JSON decoder raises for any input whatever."""

_PLACE = re.compile(r"^(?P<problem>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_EXCERPT_BYTES = 200


def explain(error: BaseException, raw: bytes, endpoint: str, json_path: str) -> DecodingError:
    """Say what is wrong with ``raw``, which stood at ``json_path`` of an answer.

    Only an answer that is no JSON object may be better the next time (a proxy's page, a cut body).
    """
    whole = retryable = json_path == "$"
    if isinstance(error, msgspec.ValidationError):
        place = _PLACE.match(str(error))
        assert place is not None
        problem, json_path = place["problem"], json_path + (place["path"] or "")
        retryable = whole and not raw.lstrip().startswith(b"{")
    elif isinstance(error, RecursionError):
        problem = "The answer is nested too deeply"
    else:
        problem = f"Not valid JSON ({error})"
    made = DecodingError.at(problem, endpoint=endpoint, json_path=json_path, retryable=retryable)
    if whole:
        made.body = raw[:_EXCERPT_BYTES].decode("utf-8", "replace") or None
    return made
