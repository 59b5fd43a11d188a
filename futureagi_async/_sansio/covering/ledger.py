"""Which records were delivered, so that each is delivered once.

Costs about 130 bytes a record: 16 bytes of its id and its sort key, as Python objects in a dict.
"""

from typing import Literal, TypeAlias

Entry: TypeAlias = Literal["new", "newer", "again"]


class Ledger:
    """Remembers ids with the greatest sort key each was read with."""

    def __init__(self) -> None:
        self._keys: dict[bytes, float] = {}
        self.duplicates = 0
        """Records that came again, newer versions included."""
        self.updates = 0
        """Records that came again in a newer version."""

    def __len__(self) -> int:
        return len(self._keys)

    def enter(self, record_id: str, key: float | None) -> Entry:
        """Say whether a record is new, a newer version of a known one, or known."""
        compact = _compact(record_id)
        before = self._keys.get(compact)
        now = key if key is not None else 0.0
        if before is None:
            self._keys[compact] = now
            return "new"
        self.duplicates += 1
        if now <= before:
            return "again"
        self._keys[compact] = now
        self.updates += 1
        return "newer"


def _compact(record_id: str) -> bytes:
    try:
        compact = bytes.fromhex(record_id.replace("-", ""))
    except ValueError:
        return record_id.encode("utf-8", "surrogatepass")
    return compact if len(compact) == 16 else record_id.encode()
