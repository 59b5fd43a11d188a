"""Replaces phone numbers and customers' names in records with keyed digests that can still be joined.

A digest is ``redacted-`` and the first 32 hexadecimal digits of an HMAC-SHA256. For a number, the input is
only its digits; for a name, the name in lower case. So a number has one digest, however it is written.

In a field for a number or a name, the whole value is replaced. In all other text, the record's own numbers
and names are replaced, and everything that looks like an international number.
"""

import hmac
import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final, NoReturn

import attrs
import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, Fields, decode_fields

KEY_VARIABLE: Final = "FI_REDACT_KEY"
PREFIX: Final = "redacted-"
_DIGEST_CHARACTERS: Final = 32
_KEY_ID_CHARACTERS: Final = 8  # hexadecimal digits: enough to distinguish two keys, too few to find a key

_FEWEST_DIGITS: Final = 5  # shorter numbers in a text are probably not phone numbers
_SHORTEST_NAME: Final = 3  # shorter names are part of other words in many languages
_MOST_LEVELS: Final = 100  # of nesting to search: the same with every version of Python
_NO_NAMES: Final = frozenset(
    ("agent", "assistant", "bot", "caller", "client", "customer", "none", "null", "system", "unknown", "user")
)
"""Placeholders for a missing name. They are common words in texts, so they are not replaced."""

_SEPARATORS: Final = " \t().\\-/\u00a0\u2010\u2011"
_BETWEEN: Final = rf"[{_SEPARATORS}]{{0,3}}"
_NUMBER: Final = re.compile(rf"(?:tel:|sip:)?(?:\+|%2B)?[\d{_SEPARATORS}]+(?:@.*)?", re.IGNORECASE)
_RUN: Final = re.compile(rf"(?:\+|%2B)?\(?\d(?:{_BETWEEN}\d){{{_FEWEST_DIGITS - 1},}}", re.IGNORECASE)
"""A pattern for possible numbers in a text."""
_PREFIX: Final = re.compile(r"\+|%2B", re.IGNORECASE)
"""The beginnings of an international number, also in a URL."""
_BEFORE_NUMBER: Final = re.compile(r"(?:\+|%2B|\(|00)+$", re.IGNORECASE)
_DIGIT: Final = re.compile(r"\d")
_INTERNATIONAL_BYTES: Final = re.compile(rb"\+\(?[1-9]")
_DIGITS_OF_INTERNATIONAL: Final = range(7, 16)  # ITU-T E.164 allows at most 15 digits
_NOT_OF_A_NUMBER: Final = re.compile(r"%2B|\D", re.IGNORECASE)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_FILLERS: Final = b" ().-/"
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?', re.DOTALL)


class _Place(Enum):
    """The meaning of the value at a key."""

    OTHER = auto()
    PERSONAL = auto()
    """A number or a name: replaced as a whole."""
    PERSON = auto()
    """An object about a person, or the name of the person."""
    PERSONA = auto()
    """An object about a person, or a text about the person."""
    COLUMN = auto()
    """The name of the value beside it, under the key ``value``."""


_PERSONAL_KEY: Final = re.compile(
    r".*(phone|mobile|msisdn)(number|no|num|e164)?\d*"
    r"|(to|from|caller|callee|called|calling|contact|customer|client|dialed|dialled|recipient|destination)(number|no)"
    r"|(customer|caller|callee|contact|client|recipient|persona)(s|full|first|last|given|family|display)?name"
    r"|(full|first|last|given|family|middle)name|surname|forename|callerid|tel"
)
"""The meaning of keys, without punctuation and in lower case."""
_PEOPLE: Final = frozenset(("customer", "caller", "callee"))
_PERSONAS: Final = frozenset(("persona", "contact", "recipient"))
_COLUMNS: Final = frozenset(("columnname", "fieldname"))
_OF_A_PERSON: Final = frozenset(("name", "number"))


@lru_cache(maxsize=1024)
def _place_of(key: str) -> _Place:
    word = re.sub(r"[\W_]", "", key).lower()
    if _PERSONAL_KEY.fullmatch(word):
        return _Place.PERSONAL
    if word in _PEOPLE:
        return _Place.PERSON
    if word in _PERSONAS:
        return _Place.PERSONA
    return _Place.COLUMN if word in _COLUMNS else _Place.OTHER


def _holds_telling_keys(sent: Raw) -> bool:
    """Whether a value has a key that may need redaction. Most values have none and stay unchanged."""
    if bytes(sent)[:1] not in (b"{", b"["):
        return False
    keys: set[str] = set()
    try:
        _collect_keys(msgspec.json.decode(sent), keys, _MOST_LEVELS)
    except JSON_ERRORS:  # a number that Python can't parse, or nested too deeply
        return True
    return any(_place_of(key) is not _Place.OTHER for key in keys)


def _collect_keys(value: Any, keys: set[str], levels: int) -> None:
    if not levels:
        raise RecursionError
    if type(value) is dict:
        keys.update(value)
        value = value.values()
    for each in value:
        if type(each) is dict or type(each) is list:
            _collect_keys(each, keys, levels - 1)


class Redactor:
    """Replaces numbers and names with digests. It never shows its key, and can't be pickled."""

    __slots__ = ("_mac", "key_id")

    def __init__(self, key: bytes) -> None:
        self._mac = hmac.new(key, digestmod="sha256")
        del key  # some tracebacks show a frame's variables
        self.key_id = self._hex(b"id of the key")[:_KEY_ID_CHARACTERS]
        """An id that distinguishes keys and reveals nothing else."""

    def digest(self, value: str) -> str:
        """Return the digest of a number or a name."""
        return PREFIX + self._hex(canonical(value).encode("utf-8", "replace"))[:_DIGEST_CHARACTERS]

    def redact(self, record: bytes) -> bytes:
        """Return the JSON of a record with numbers and names replaced. All other values stay as sent."""
        return _Record(self).redact(record)

    def redact_source(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """Return the description of a list, with numbers and names in its filters replaced."""
        made = dict(source)
        if made.get("search") is not None:
            made["search"] = self.digest(made["search"])
        if made.get("filters"):
            made["filters"] = [self._redact_filter(each) for each in made["filters"]]
        return made

    def _redact_filter(self, given: Mapping[str, Any]) -> dict[str, Any]:
        config: dict[str, Any] = given["filter_config"]
        value = config.get("filter_value")
        column = str(given["column_id"])
        if _place_of(column) is _Place.PERSONAL or column.casefold() == "persona.name":
            values = value if isinstance(value, list) else [value]
            digests = [self.digest(str(each)) for each in values]
            config = {**config, "filter_value": digests if isinstance(value, list) else digests[0]}
        return {**given, "filter_config": msgspec.json.decode(self.redact(msgspec.json.encode(config)))}

    def _hex(self, message: bytes) -> str:
        mac = self._mac.copy()
        mac.update(message)
        return mac.hexdigest()

    def __repr__(self) -> str:
        return f"<Redactor {self.key_id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Redactor can't be pickled, because it has a key.")


def make_redactor(redact: bool, key: str | bytes | None, environ: Mapping[str, str]) -> Redactor | None:
    """Return a redactor, or ``None`` without ``redact``. Raises `ValueError` or `TypeError` for bad keys."""
    if not isinstance(redact, bool):
        raise TypeError("redact must be True or False. Pass the key as redact_key.")
    if not redact:
        if key is not None:
            raise ValueError("redact_key needs redact=True.")
        return None
    found = environ.get(KEY_VARIABLE) if key is None else key
    del key, environ  # some tracebacks show a frame's variables
    if found is not None and not isinstance(found, str | bytes):
        raise TypeError("redact_key must be str or bytes.")
    if not found or not found.strip():
        raise ValueError(f"redact=True needs a key: set {KEY_VARIABLE}, or give redact_key=...")
    return Redactor(found.encode() if isinstance(found, str) else found)


def canonical(value: str) -> str:
    """Return the digits of a number, or a name in the form that all its spellings share."""
    if is_number(value):
        return _NOT_OF_A_NUMBER.sub("", value.partition("@")[0]).removeprefix("00")
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def is_number(value: str) -> bool:
    """Whether a text is a phone number and nothing else."""
    return _NUMBER.fullmatch(value.strip()) is not None and _count_digits(value) >= _FEWEST_DIGITS


def _count_digits(text: str) -> int:
    return sum(map(str.isdigit, text))


@attrs.define
class _Record:
    """One record. Its own numbers and names are also replaced in its texts."""

    redactor: Redactor
    numbers: set[str] = attrs.field(factory=set)
    names: set[str] = attrs.field(factory=set)

    def redact(self, record: bytes) -> bytes:
        fields = decode_fields(record)
        made = {key: self._field(key, value) for key, value in fields.items()}
        if any(made[key] is not fields[key] for key in made):
            record = msgspec.json.encode(made)
        return _STRING.sub(self._in_string, record) if self._may_hold_any(record) else record

    def _field(self, key: str, sent: Raw) -> Raw:
        """Return the redacted value; the same value if it needs no redaction."""
        place = _place_of(key)
        if place is _Place.OTHER and not _holds_telling_keys(sent):
            return sent
        try:
            return self._value(sent, place, _MOST_LEVELS)
        except JSON_ERRORS:  # nested too deeply
            return Raw(b"null")

    def _value(self, sent: Raw, place: _Place, levels: int) -> Raw:
        """Return a value with numbers and names replaced. Objects are rewritten, so no key occurs twice."""
        if not levels:
            raise RecursionError
        match bytes(sent)[:1]:
            case b"{":
                fields = decode_fields(sent)
                places = self._places(fields, place)
                kept = {key: self._value(fields[key], each, levels - 1) for key, each in places}
                return Raw(msgspec.json.encode(kept))
            case b"[":
                items = _decode_items(sent)
                return Raw(msgspec.json.encode([self._value(item, place, levels - 1) for item in items]))
            case b'"':
                return self._text(sent, place)
            case b"t" | b"f" | b"n":
                return sent
        return self._replaced(bytes(sent).decode()) if place is _Place.PERSONAL else sent

    def _text(self, sent: Raw, place: _Place) -> Raw:
        if place not in (_Place.PERSONAL, _Place.PERSON):
            return sent
        text = msgspec.json.decode(sent, type=str)
        if not text or (place is _Place.PERSON and "/" in text):  # the URL of a recording
            return sent
        return self._replaced(text)

    def _replaced(self, value: str) -> Raw:
        name = value.strip()
        if is_number(value):
            self.numbers.add(canonical(value))
        elif len(name) >= _SHORTEST_NAME and name.casefold() not in _NO_NAMES:
            self.names.add(name)
        return Raw(msgspec.json.encode(self.redactor.digest(value)))

    def _places(self, fields: Fields, place: _Place) -> Iterator[tuple[str, _Place]]:
        """Yield the meaning of each key of an object, whose own meaning is ``place``."""
        beside = self._place_beside(fields)
        for key in fields:
            word = key.lower()
            if word == "value":
                yield key, beside if place is _Place.OTHER and beside is not None else place
            elif (place is _Place.PERSONAL and "value" not in fields) or (
                place in (_Place.PERSON, _Place.PERSONA) and word in _OF_A_PERSON
            ):
                yield key, _Place.PERSONAL
            else:
                yield key, _place_of(key)

    def _place_beside(self, fields: Fields) -> _Place | None:
        """Return the meaning of ``value`` from the name that the object gives it."""
        for key, value in fields.items():
            if _place_of(key) is _Place.COLUMN and bytes(value).startswith(b'"'):
                return _place_of(msgspec.json.decode(value, type=str))
        return None

    def _may_hold_any(self, record: bytes) -> bool:
        """Whether each text must be checked. An escaped character may hide a match."""
        if b"\\u" in record or b"%2" in record or (b"+" in record and _INTERNATIONAL_BYTES.search(record)):
            return True
        digits = record.translate(None, delete=_FILLERS) if self.numbers else b""
        return any(number.encode() in digits for number in self.numbers) or any(
            msgspec.json.encode(name)[1:-1] in record for name in self.names
        )

    def _in_string(self, found: re.Match[bytes]) -> bytes:
        """Replace numbers and names in one string. The string is a key if a colon follows."""
        whole, colon = found[0], found[1] or b""
        text = msgspec.json.decode(whole[: len(whole) - len(colon)], type=str)
        if _UUID.fullmatch(text):
            return whole
        made = self._in_numbers(text)
        if not colon:
            for name in sorted(self.names, key=len, reverse=True):
                if name in made:
                    made = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", self.redactor.digest(name), made)
        return whole if made == text else msgspec.json.encode(made) + colon

    def _in_numbers(self, text: str) -> str:
        return _RUN.sub(self._in_run, text)

    def _in_run(self, found: re.Match[str]) -> str:
        """Replace the record's own number in a run of digits, or an international number at its start."""
        written = found[0]
        prefix = _PREFIX.match(written)
        places = [each.start() for each in _DIGIT.finditer(written, prefix.end() if prefix else 0)]
        digits = "".join(map(written.__getitem__, places))
        for number in self.numbers:
            at = digits.find(number)
            if at >= 0 and (number == digits.removeprefix("00") or len(number) in _DIGITS_OF_INTERNATIONAL):
                before = _BEFORE_NUMBER.sub("", written[: places[at]])
                behind = written[places[at + len(number) - 1] + 1 :]
                return self._in_numbers(before) + self.redactor.digest(number) + self._in_numbers(behind)
        if prefix and digits[0] != "0" and len(digits) >= _DIGITS_OF_INTERNATIONAL.start:
            international = digits[: _DIGITS_OF_INTERNATIONAL.stop - 1]
            behind = written[places[len(international) - 1] + 1 :]
            return self.redactor.digest(international) + self._in_numbers(behind)
        return written


_decode_items = msgspec.json.Decoder(list[Raw]).decode
