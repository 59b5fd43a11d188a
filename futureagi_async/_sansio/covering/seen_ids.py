"""Which records were delivered, so that each is delivered once.

Costs some 30 bytes a record: 16 of its id and 8 of its sort key, and what is kept free for more.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Literal, TypeAlias

Novelty: TypeAlias = Literal["new", "newer", "again"]

_ID = Struct("16s")
_ROW = Struct("=16sd")
_PIECES = Struct("=16s8s")  # of a row that only moves
_KEY = Struct("=d")
_KEY_AT = 16
_MEAN_ROWS = 32  # of a bucket: fewer take more memory, more take longer to search
_STRIDE = 37  # from one UUID's text to the next, a space between them
_HYPHENS_AT = (8, 13, 18, 23)


class SeenIds:
    """Remembers ids with the greatest sort key each was read with."""

    def __init__(self) -> None:
        self._uuids = PackedKeys()
        self._others: dict[str, float] = {}
        """Keys of ids that are no UUIDs in their usual spelling."""
        self.repeats = 0
        """Records that came again, newer versions included."""
        self.updates = 0
        """Records that came again in a newer version."""

    def __len__(self) -> int:
        return len(self._uuids) + len(self._others)

    def add_all(self, ids: Sequence[str], keys: Sequence[float | None]) -> list[Novelty]:
        """Say of each record of a page whether it is new, a newer version of a known one, or known."""
        entries = self._enter(ids, [key or 0.0 for key in keys])
        self.repeats += len(entries) - entries.count("new")
        self.updates += entries.count("newer")
        return entries

    def _enter(self, ids: Sequence[str], keys: Sequence[float]) -> list[Novelty]:
        packed = _pack_uuids(ids)
        if packed is not None:
            return self._uuids.enter(packed, keys)
        if len(ids) == 1:
            return [self._enter_other(ids[0], keys[0])]
        return [self._enter([id_], [key])[0] for id_, key in zip(ids, keys, strict=True)]

    def _enter_other(self, id_: str, key: float) -> Novelty:
        before = self._others.get(id_)
        if before is not None and key <= before:
            return "again"
        self._others[id_] = key
        return "new" if before is None else "newer"


class PackedKeys:
    """A mapping from 16 bytes to the greatest number entered with them, without an object for each.

    Rows lie packed in buckets, which are searched as bytes. When there are too many for the buckets, one
    bucket in turn is split, so that nobody waits for the whole table to grow (Litwin, "Linear hashing",
    VLDB 1980).
    """

    def __init__(self) -> None:
        self._rows = 0
        self._buckets = [bytearray()]
        self._mask = 1
        """Which bits of a hash name a bucket; those that have not been split go without the highest."""

    def __len__(self) -> int:
        return self._rows

    def enter(self, packed: bytes, keys: Sequence[float]) -> list[Novelty]:
        """Enter ids that stand one behind the other, each with its key."""
        while self._rows + len(keys) > _MEAN_ROWS * len(self._buckets):
            self._split()
        buckets, mask = self._buckets, self._mask
        entries: list[Novelty] = []
        for (id_,), key in zip(_ID.iter_unpack(packed), keys, strict=True):
            place = hash(id_) & mask
            bucket = buckets[place if place < len(buckets) else place & mask >> 1]
            at = bucket.find(id_)
            while at > 0 and at % _ROW.size:  # it was the end of one row and the beginning of the next
                at = bucket.find(id_, at + 1)
            if at < 0:
                bucket += _ROW.pack(id_, key)
                entries.append("new")
            elif key > _KEY.unpack_from(bucket, at + _KEY_AT)[0]:
                _KEY.pack_into(bucket, at + _KEY_AT, key)
                entries.append("newer")
            else:
                entries.append("again")
        self._rows += entries.count("new")
        return entries

    def _split(self) -> None:
        """Share the rows of the next bucket in turn with a new one."""
        buckets, highest = self._buckets, (self._mask + 1) // 2
        turn = len(buckets) - highest
        staying: list[bytes] = []
        moving: list[bytes] = []
        for row in _PIECES.iter_unpack(buckets[turn]):
            if hash(row[0]) & highest:
                moving += row
            else:
                staying += row
        buckets[turn] = bytearray().join(staying)
        buckets.append(bytearray().join(moving))
        if len(buckets) > self._mask:
            self._mask = 2 * self._mask + 1


def _pack_uuids(ids: Sequence[str]) -> bytes | None:
    """Return 16 bytes for each id; ``None`` unless all are UUIDs in lower case and with their hyphens."""
    text = " ".join(ids)
    hyphens = "-" * len(ids)
    if len(text) != _STRIDE * len(ids) - 1 or any(text[at::_STRIDE] != hyphens for at in _HYPHENS_AT):
        return None
    digits = text.replace("-", "")
    try:
        packed = bytes.fromhex(digits)
    except ValueError:
        return None
    return packed if len(packed) == 16 * len(ids) and packed.hex(" ", 16) == digits else None
