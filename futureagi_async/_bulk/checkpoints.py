"""What a bulk read tells its consumer to keep, so that it can go on after an interruption.

A mark holds what one source's cover was asked and told since the mark before. The cover decides by
nothing else, so doing the same again brings it to the same state; what it had asked for without an
answer is then asked again.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import TypeAlias

import msgspec

from futureagi_async._sansio.covering.pages import Ask, Seen
from futureagi_async.sources import CallSource

_VERSION = 1


class Asked(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """The cover was asked for a page."""

    in_vain: bool
    """Whether it had none."""


class Took(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """The cover was given the answer to a page; times in seconds since the read began."""

    number: int
    """Which page: they are counted as they are asked for."""
    count: int | None
    ids: list[str]
    keys: list[float | None]
    has_next: bool
    sent_at: float
    received_at: float
    server_time: float | None
    body_bytes: int
    crowded: bool
    retries: int
    failures: list[str]
    """What was wrong with records that did not decode."""

    def seen(self, ask: Ask, epoch: float) -> Seen:
        """Return what the cover was given."""
        return Seen(
            ask=ask,
            count=self.count,
            ids=self.ids,
            keys=self.keys,
            has_next=self.has_next,
            sent_at=self.sent_at + epoch,
            received_at=self.received_at + epoch,
            server_time=self.server_time,
            body_bytes=self.body_bytes,
            undecoded=len(self.failures),
        )


class Lost(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    """The cover was told that a page could not be read."""

    number: int
    retries: int
    failure: str | None
    """Why, where that was not forgiven."""


class Renewed(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The source was begun anew, because nothing could be proven before."""


Event: TypeAlias = Asked | Took | Lost | Renewed


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The events of one source since its mark before."""

    version: int
    index: int
    """The source's place among those given."""
    nature: bytes
    """A digest of the source and of how it is read."""
    events: list[Event]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Mark)


def digest_nature(source: CallSource, how: str) -> bytes:
    """Return what tells a source, and how it is read, from others."""
    told = f"{source!r} {how}".encode("utf-8", "surrogatepass")
    return blake2b(told, digest_size=8).digest()


def encode_mark(index: int, nature: bytes, events: list[Event]) -> bytes:
    """Return the mark's bytes."""
    return _ENCODER.encode(Mark(_VERSION, index, nature, events))


def decode_mark(raw: bytes) -> Mark:
    """Return the mark, or raise `ValueError` where it is none."""
    try:
        mark = _DECODER.decode(raw)
    except (msgspec.MsgspecError, TypeError) as error:
        raise ValueError(f"resume must be marks of an earlier stream's steps: {error}") from None
    if mark.version != _VERSION:
        raise ValueError(f"resume holds marks of another version ({mark.version}, not {_VERSION}).")
    return mark


def last_moment(marks: Iterable[Mark]) -> float:
    """Return when the last answer was received, in seconds since the read began."""
    times = (event.received_at for mark in marks for event in mark.events if isinstance(event, Took))
    return max(times, default=0.0)
