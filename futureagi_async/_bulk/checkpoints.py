"""Encodes checkpoints, with which a bulk read can be resumed after an interruption.

A checkpoint contains the events of one source since the previous checkpoint: pages that were requested,
received or failed. A cover depends on nothing else, so replaying these events restores its state. Pages that
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
    """Whether there was no page to read at that time."""


class Received(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """The cover got the response to a page. Times are seconds since the read began."""

    number: int
    """Number of the page among the requested pages."""
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
    """The errors of records that could not be decoded."""
    misfits: list[int] = []
    """Positions of the records that have misfits."""

    def page_result(self, request: PageRequest) -> PageResult:
        """Return the result as the cover got it."""
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
    """How many times it failed for a reason that smaller pages may not have."""
    failure: str | None
    """The error, if there was no alternative."""


class Restarted(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The source was restarted, because nothing could be verified before."""


ReadEvent: TypeAlias = Requested | Received | Failed | Restarted


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The events of one source since its previous checkpoint."""

    version: int
    index: int
    """Position of the source among those given."""
    fingerprint: bytes
    """A digest of the source and of the read options."""
    events: list[ReadEvent]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Checkpoint)


def fingerprint_of(source: CallSource, how: str) -> bytes:
    """Return a digest that identifies a source and the options of its read."""
    told = f"{source!r} {how}".encode("utf-8", "surrogatepass")
    return blake2b(told, digest_size=8).digest()


def encode_checkpoint(index: int, fingerprint: bytes, events: list[ReadEvent]) -> bytes:
    """Return the bytes of the checkpoint."""
    return _ENCODER.encode(Checkpoint(_VERSION, index, fingerprint, events))


def decode_checkpoint(raw: bytes) -> Checkpoint:
    """Return the checkpoint, or raise `ValueError` for other bytes."""
    try:
        checkpoint = _DECODER.decode(raw)
    except (msgspec.MsgspecError, TypeError) as error:
        raise ValueError(f"resume must be checkpoints of an earlier stream's steps: {error}") from None
    if checkpoint.version != _VERSION:
        raise ValueError(f"resume has checkpoints of another version ({checkpoint.version}, not {_VERSION}).")
    return checkpoint


def last_received_at(checkpoints: Iterable[Checkpoint]) -> float:
    """Return the time of the last response, in seconds since the read began."""
    times = (
        event.received_at
        for checkpoint in checkpoints
        for event in checkpoint.events
        if isinstance(event, Received)
    )
    return max(times, default=0.0)
