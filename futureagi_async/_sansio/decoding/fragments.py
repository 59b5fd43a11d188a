"""Pieces of JSON that know where they stand, and errors that name the place."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs
import msgspec
from msgspec import Raw

from futureagi_async.errors import DecodingError
from futureagi_async.models import ReadOnlyDict
from futureagi_async.models.lazy import FieldReader
from futureagi_async.sources import CallSource

JSON_ERRORS: Final[tuple[type[Exception], ...]] = (msgspec.MsgspecError, ValueError, RecursionError)
"""All that the JSON decoder raises for any input whatever."""

Fields: TypeAlias = dict[str, Raw]
"""An object's values by key, as sent."""

decode_fields = msgspec.json.Decoder(Fields).decode

_PLACE: Final = r"(?s)^(?P<problem>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$"
_EXCERPT_BYTES = 200


def decoding_error(error: BaseException, raw: bytes, endpoint: str, json_path: str) -> DecodingError:
    """Say what is wrong with ``raw``, which stood at ``json_path`` of an answer.

    Only an answer that is no JSON object may be better the next time (a proxy's page, a cut body).
    """
    whole = retryable = json_path == "$"
    if isinstance(error, msgspec.ValidationError):
        problem, path = _split(error)
        json_path += path
        retryable = whole and not raw.lstrip().startswith(b"{")
    elif isinstance(error, RecursionError):
        problem = "The answer is nested too deeply"
    else:
        problem = f"Not valid JSON ({error})"
    made = DecodingError.at(problem, endpoint=endpoint, json_path=json_path, retryable=retryable)
    if whole:
        made.body = raw[:_EXCERPT_BYTES].decode("utf-8", "replace") or None
    return made


def at_place(error: msgspec.ValidationError, place: str) -> msgspec.ValidationError:
    """Return an error about a value as one about what holds it at ``place``, such as ``[2]`` or ``.id``."""
    problem, path = _split(error)
    return msgspec.ValidationError(f"{problem} - at `${place}{path}`")


def _split(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return what is wrong, and where."""
    found = re.match(_PLACE, str(error))
    assert found is not None
    return found["problem"], found["path"] or ""


def check_keys(body: bytes, records: Sequence[Raw], endpoint: str) -> None:
    """Raise `DecodingError` where an object of the answer, its records left out, has a key twice."""
    twice: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        if len(pairs) > len(dict(pairs)):
            twice.extend(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)

    rest = _without(records, body)
    if _has_distinct_keys(rest):
        return
    try:
        json.loads(rest, object_pairs_hook=note)
    except (ValueError, RecursionError):
        return  # something else of it looks like a record: it was not cut where it should
    if twice:
        problem = f"The key {twice[0][:40]!r} occurs twice"
        raise DecodingError.at(problem, endpoint=endpoint, retryable=True)


def _has_distinct_keys(text: bytes) -> bool:
    """Whether some JSON is surely an object without others in it, whose keys are all different.

    It counts colons: one for each key, and those in strings. That takes 2 µs, where to see all pairs takes 7.
    """
    if b"\\" in text:
        return False
    try:
        found = _OBJECT.decode(text)
    except JSON_ERRORS:
        return False
    in_strings = sum(value.count(":") for value in found.values() if isinstance(value, str))
    return text.count(b":") - in_strings == len(found)


_EDGE = 64  # bytes: to prepare the search for a whole record takes longer than decoding one


def _without(records: Sequence[Raw], body: bytes) -> bytes:
    if not records:
        return body
    first, last = bytes(records[0]), bytes(records[-1])
    begin, end = body.find(first[:_EDGE]), body.rfind(last[-_EDGE:]) + len(last[-_EDGE:])
    if not body.startswith(first, begin) or not body.endswith(last, begin, end):
        begin, end = body.find(first), body.rfind(last) + len(last)
    return body[:begin] + body[end:]


_OBJECT = msgspec.json.Decoder(dict[str, object])


@attrs.define(frozen=True)
class Checks:
    """How records are checked; see the arguments of `futureagi_async.Session`."""

    eager: bool = False
    """Whether nested parts are structured with their record, so that a malformed one fails it."""
    strict: bool = False
    """Whether a value of a type that the documents do not allow is an error, rather than a misfit."""


LENIENT: Final = Checks()


@attrs.define
class ListContext:
    """What the records of one list have in common."""

    endpoint: str
    path: str
    source: CallSource | None = None
    strict: bool = False
    snapshots_of: str | None = None
    """For rerun snapshots inside a call: that call's id."""
    levels: int = 0
    """How many calls they are inside of."""
    reader: FieldReader | None = None
    """Reads the lazy fields of all of them."""


@attrs.define
class Fragment:
    """Some JSON of an answer, and where it stood: what the converter's hooks take."""

    raw: bytes | Raw
    endpoint: str
    path: str
    list_context: ListContext | None = None
    index: int = -1
    key: str = ""
    """For a nested fragment: its key in its record."""
    value: Any = None
    """What the JSON decoder made of it, where it has been asked before."""

    @property
    def strict(self) -> bool:
        """Whether a value of a type that the documents do not allow is an error."""
        return self.list_context is not None and self.list_context.strict

    @property
    def json_path(self) -> str:
        """Where it stood, such as ``$.results[2].transcript``."""
        place = self.path if self.index < 0 else f"{self.path}[{self.index}]"
        return f"{place}.{self.key}" if self.key else place

    def error(self, error: BaseException) -> DecodingError:
        """Say what is wrong with it."""
        return decoding_error(error, self.raw, self.endpoint, self.json_path)


HookOf: TypeAlias = Callable[[Any], Callable[[Fragment, Any], Any]]
"""The converter's ``get_structure_hook``."""


def id_of(raw: bytes) -> str | None:
    """Return a record's id where that much can be read."""
    try:
        found = _OBJECT.decode(raw).get("id")
    except JSON_ERRORS:
        return None
    return found if isinstance(found, str) else None


def check_text(fragment: Fragment) -> None:
    """Refuse a record that is not UTF-8: what is read of it later was only skimmed until then.

    Record by record, because a whole page as one str would take four bytes a character where one of
    them is an emoji, and as long as all the rest of the decoding.
    """
    if fragment.raw.isascii():
        return
    try:
        fragment.raw.decode()
    except UnicodeDecodeError as error:
        problem = f"The record is not UTF-8 (byte {error.start})"
        whole = fragment.json_path == "$"
        raise DecodingError.at(
            problem, endpoint=fragment.endpoint, json_path=fragment.json_path, retryable=whole
        ) from None


def structure_object(fragment: Fragment) -> ReadOnlyDict[Any]:
    """Structure a JSON object whose keys are free."""
    try:
        return ReadOnlyDict(_OBJECT.decode(fragment.raw))
    except JSON_ERRORS as error:
        raise fragment.error(error) from None
