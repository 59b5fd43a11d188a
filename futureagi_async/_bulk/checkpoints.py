"""Encodes what a bulk read needs to go on after an interruption: checkpoints that its consumer keeps.

A checkpoint holds the events of one source since the checkpoint before: pages requested, received and
failed. A cover decides by nothing else, so replaying them brings a new one to the same state; pages that
were requested and not received are then requested again.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import TypeAlias

import msgspec

from futureagi_async._sansio.covering.pages import PageRequest, PageResult
from futureagi_async.sources import CallSource

_VERSION = 3


class Requested(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """The cover was asked for the next page to read."""

    in_vain: bool
    """Whether there was none to read at that time."""


class Received(msgspec.Struct, frozen=True, array_like=True, tag="t"):
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
    slots_full: bool
    retries: int
    failures: list[str]
    """What was wrong with records that did not decode."""
    misfits: list[int] = []
    """Places of the records that have misfits."""

    def page_result(self, request: PageRequest) -> PageResult:
        """Return it as the cover was given it."""
        return PageResult(
            request=request,
            count=self.count,
            ids=self.ids,
            keys=self.keys,
            has_next=self.has_next,
            sent_at=self.sent_at,
            received_at=self.received_at,
            server_time=self.server_time,
            body_bytes=self.body_bytes,
            undecoded=len(self.failures),
        )


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    """The cover was told that a page could not be read."""

    number: int
    retries: int
    failures: int
    """How often it failed for a reason that smaller pages may not share."""
    failure: str | None
    """Why, where there was no other way."""


class Restarted(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The source was begun anew, because nothing could be proven before."""


ReadEvent: TypeAlias = Requested | Received | Failed | Restarted


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The events of one source since its checkpoint before."""

    version: int
    index: int
    """The source's place among those given."""
    fingerprint: bytes
    """A digest of the source and of how it is read."""
    events: list[ReadEvent]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Checkpoint)


def fingerprint_of(source: CallSource, how: str) -> bytes:
    """Return what tells a source, and how it is read, from others."""
    told = f"{source!r} {how}".encode("utf-8", "surrogatepass")
    return blake2b(told, digest_size=8).digest()


def encode_checkpoint(index: int, fingerprint: bytes, events: list[ReadEvent]) -> bytes:
    """Return the checkpoint's bytes."""
    return _ENCODER.encode(Checkpoint(_VERSION, index, fingerprint, events))


def decode_checkpoint(raw: bytes) -> Checkpoint:
    """Return the checkpoint, or raise `ValueError` where it is none."""
    try:
        checkpoint = _DECODER.decode(raw)
    except (msgspec.MsgspecError, TypeError) as error:
        raise ValueError(f"resume must be checkpoints of an earlier stream's steps: {error}") from None
    if checkpoint.version != _VERSION:
        raise ValueError(f"resume has checkpoints of another version ({checkpoint.version}, not {_VERSION}).")
    return checkpoint


def last_received_at(checkpoints: Iterable[Checkpoint]) -> float:
    """Return when the last answer was received, in seconds since the read began."""
    times = (
        event.received_at
        for checkpoint in checkpoints
        for event in checkpoint.events
        if isinstance(event, Received)
    )
    return max(times, default=0.0)
