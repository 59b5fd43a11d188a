"""A page of run tests, executions, agents or versions -> values without the secrets sent along with them.

Each value is decoded by itself. One of a type that the documents do not allow is a misfit, and costs its
field; only a record without a UUID as its ``id`` costs the list.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, TypeAlias, TypeVar

import attrs
import msgspec
from msgspec import Raw, Struct

from futureagi_async._sansio.decoding.fragments import (
    JSON_ERRORS,
    Fields,
    Fragment,
    check_keys,
    decode_fields,
)
from futureagi_async._sansio.decoding.misfits import as_aware
from futureagi_async._sansio.listing import Page, Row
from futureagi_async.errors import DecodingError
from futureagi_async.models import AgentDefinition, AgentVersion, ReadOnlyDict, RunTest, TestExecution
from futureagi_async.options import canonical_uuid

T = TypeVar("T")
Read: TypeAlias = Callable[[Raw], Any]
"""One value's JSON -> what its field holds; raises one of `JSON_ERRORS` for a misfit."""

_WITHHELD = re.compile(
    r"agent_?definition_?detail|snapshot|websocket|livekit"  # an agent's configuration
    r"|key|secret|token|pass_?(word|wd|phrase|code)|pwd|credential|auth|bearer|jwt|header|cookie|signature|dsn"
    r"|ur[il]$|webhook"  # an address may hold any of those
    r"|contact|phone|mobile|(customer|caller|callee|to|from)_?number",
    re.IGNORECASE,
)
"""Names of what is not kept: secrets, what may hold some, and phone numbers."""
_MOST_LEVELS = 100
"""How far a value is looked into: the same with every Python, however deep its stack is."""


@attrs.define(frozen=True)
class Shape(Generic[T]):
    """How the records of one list become values."""

    kind: Callable[..., T]
    fields: Mapping[str, tuple[Read, tuple[str, ...]]]
    """By field: how to read it, and the keys that can fill it; the first one present does."""
    born: tuple[str, ...]
    """The keys that can say when it came to be."""


class _Envelope(Struct):
    results: list[Raw]
    next: Raw = Raw(b"null")
    count: Raw = Raw(b"null")


class _WithId(Struct):
    id: str | None = None


def decode_envelope(body: bytes, endpoint: str) -> Page[Raw]:
    """Decode a list's envelope; the records are not looked into."""
    wire = _decoded(Fragment(body, endpoint, "$"), _decode_envelope)
    check_keys(body, wire.results, endpoint)
    try:
        count = _COUNT(wire.count)
    except JSON_ERRORS:
        count = None
    return Page(wire.results, count, bytes(wire.next).strip() not in (b"null", b"false", b'""'))


def decode_row(
    shape: Shape[T], record: Raw, index: int, endpoint: str, *, strict: bool, **known: str
) -> Row[T]:
    """Decode a page's record; ``known`` are the fields that the request says.

    Raises `DecodingError` for what is no object or has no usable id, and with ``strict`` for any misfit.
    """
    fragment = Fragment(bytes(record), endpoint, "$.results", index=index)
    if not fragment.raw.isascii():
        _decoded(fragment, bytes.decode)  # what is read of it below need not be all
    sent: Fields = _decoded(fragment, decode_fields)
    id_ = _id_of(sent.pop("id", None), fragment)
    born = _born(sent, shape.born)
    values: dict[str, Any] = {}
    misfits: dict[str, Any] = {}
    for name, (read, keys) in shape.fields.items():
        key = next((key for key in keys if key in sent), None)
        if key is None:
            continue
        try:
            values[name] = read(sent[key])
        except JSON_ERRORS as error:
            if strict:
                raise attrs.evolve(fragment, key=key).error(error) from None
            misfits |= _kept({name: sent.pop(key)})
        else:
            if read is not _REFERENCE or not bytes(sent[key]).lstrip().startswith(b"{"):
                del sent[key]  # an object says more than its id
    for name in known:
        sent.pop(name.removesuffix("_id"), None)
    value = shape.kind(
        id=id_, **known, **values, extra=ReadOnlyDict(_kept(sent)), misfits=ReadOnlyDict(misfits)
    )
    return Row(id_, born, value)


def _decoded(fragment: Fragment, decode: Callable[[bytes], T]) -> T:
    """Decode, or raise an error that nothing of the answer hangs on, not even by its context."""
    try:
        return decode(fragment.raw)
    except JSON_ERRORS as error:
        failure = fragment.error(error)
        failure.body = None
    raise failure


def _id_of(sent: Raw | None, fragment: Fragment) -> str:
    try:
        found = canonical_uuid(None if sent is None else _TEXT(sent))
    except JSON_ERRORS:
        found = None
    if found is None:
        place = f"{fragment.json_path}.id"
        raise DecodingError.at("Expected a UUID", endpoint=fragment.endpoint, json_path=place)
    return found


def _born(sent: Fields, keys: tuple[str, ...]) -> datetime | None:
    for key in filter(sent.__contains__, keys):
        try:
            moment: datetime | None = _TIME(sent[key])
        except JSON_ERRORS:
            continue
        if moment is not None:
            return moment
    return None


@lru_cache(maxsize=2_000)  # records repeat their keys, and the pattern takes longer than all the rest
def _is_withheld(name: str) -> bool:
    return _WITHHELD.search(name) is not None


def _kept(sent: Fields) -> dict[str, Any]:
    """Return the values of keys, as Python holds them, without what is withheld.

    Of what Python can't hold (``1e999``), a number stays as it is written; what can't be looked into goes.
    """
    kept: dict[str, Any] = {}
    for key, value in sent.items():
        if _is_withheld(key):
            continue
        try:
            kept[key] = _without_secrets(msgspec.json.decode(value), _MOST_LEVELS)
        except JSON_ERRORS:
            text = bytes(value).strip()
            if text[:1] not in (b"{", b"["):
                kept[key] = text.decode()
    return kept


def _without_secrets(value: Any, levels: int) -> Any:
    if not levels:
        raise RecursionError
    match value:
        case dict():
            kept = {key: each for key, each in value.items() if not _is_withheld(key)}
            return {key: _without_secrets(each, levels - 1) for key, each in kept.items()}
        case list():
            return [_without_secrets(each, levels - 1) for each in value]
    return value


def _reader(kind: Any) -> Read:
    return msgspec.json.Decoder(kind).decode


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_TEXT = _reader(str | None)
_FLAG = _reader(bool | None)
_COUNT = _reader(int | None)
_NUMBER = _reader(int | float | None)
_decode_time = _reader(datetime | None)
_decode_reference = _reader(str | _WithId | None)


def _TIME(sent: Raw) -> datetime | None:  # noqa: N802 - one of the readers above
    moment: datetime | None = _decode_time(sent)
    return None if moment is None else as_aware(moment)


def _WORD(sent: Raw) -> str | None:  # noqa: N802
    """Read a word that one dialect capitalises and the other writes in upper case."""
    word: str | None = _TEXT(sent)
    return None if word is None else word.lower()


def _REFERENCE(sent: Raw) -> str | None:  # noqa: N802
    """Read the id of something else, which is sent as an id or as an object that has one."""
    found: str | _WithId | None = _decode_reference(sent)
    return found.id if isinstance(found, _WithId) else found


RUN_TEST = Shape(
    RunTest,
    {
        "name": (_TEXT, ("name",)),
        "description": (_TEXT, ("description",)),
        "agent_definition_id": (_REFERENCE, ("agent_definition",)),
        "agent_version_id": (_REFERENCE, ("agent_version",)),
        "source_type": (_TEXT, ("source_type",)),
        "last_run_at": (_TIME, ("last_run_at",)),
        "created_at": (_TIME, ("created_at",)),
    },
    ("created_at",),
)
TEST_EXECUTION = Shape(
    TestExecution,
    {
        "status": (_WORD, ("status",)),
        "started_at": (_TIME, ("start_time", "started_at")),
        "duration": (_NUMBER, ("duration", "duration_seconds")),
        "success_rate": (_NUMBER, ("success_rate",)),
        "agent_definition": (_TEXT, ("agent_definition", "agent_definition_used_name")),
        "agent_version": (_TEXT, ("agent_version",)),
    },
    ("created_at", "start_time", "started_at"),
)
AGENT_DEFINITION = Shape(
    AgentDefinition,
    {
        "name": (_TEXT, ("agent_name",)),
        "agent_type": (_TEXT, ("agent_type",)),
        "provider": (_TEXT, ("provider",)),
        "inbound": (_FLAG, ("inbound",)),
        "latest_version": (_COUNT, ("latest_version",)),
        "latest_version_id": (_TEXT, ("latest_version_id",)),
    },
    ("created_at",),
)
AGENT_VERSION = Shape(
    AgentVersion,
    {
        "version_number": (_COUNT, ("version_number",)),
        "name": (_TEXT, ("version_name",)),
        "status": (_TEXT, ("status",)),
        "is_active": (_FLAG, ("is_active",)),
        "is_latest": (_FLAG, ("is_latest",)),
        "created_at": (_TIME, ("created_at",)),
    },
    ("created_at",),
)
