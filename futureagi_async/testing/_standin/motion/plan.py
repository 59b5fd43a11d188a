"""What a list goes through while it is read."""

from __future__ import annotations

from attrs import field, frozen


def _not_negative(_instance: object, attribute: object, value: float) -> None:
    if value < 0:
        raise ValueError(f"{getattr(attribute, 'name', 'a rate')} must not be negative")


@frozen(kw_only=True)
class Motion:
    """How a list moves: rates are events in a virtual second, and everything follows from the seed.

    Attributes:
        updates: saves of a call, which give it the key of their moment.
        inserts: new calls with the key of their moment.
        deletes: calls (and their snapshots) that cease to exist.
        soft_deletes: calls that are marked deleted, which is a save; run-test lists go on counting them.
        tie_updates: jobs that save `tie_size` calls at once with one identical key.
        tie_size: how many calls such a job saves.
        old_key_entries: on a version list, calls that enter it with an old key because they were
            evaluated; on the other lists, calls that change their status but not their key, and so enter
            and leave the list filtered by it.
        commit_delay_seconds: a change becomes visible this much later than its key says: least and most.
        clock_skew_seconds: by how much the clocks of some writers, and so their keys, may be off.
        gap_share: which share of `request_seconds` passes between the statements of one request.
        seed: the same seed, data and requests give the same changes at the same moments.

    """

    updates: float = field(default=0.0, validator=_not_negative)
    inserts: float = field(default=0.0, validator=_not_negative)
    deletes: float = field(default=0.0, validator=_not_negative)
    soft_deletes: float = field(default=0.0, validator=_not_negative)
    tie_updates: float = field(default=0.0, validator=_not_negative)
    tie_size: int = 50
    old_key_entries: float = field(default=0.0, validator=_not_negative)
    commit_delay_seconds: tuple[float, float] = (0.0, 0.0)
    clock_skew_seconds: float = field(default=0.0, validator=_not_negative)
    gap_share: float = 0.2
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        least, most = self.commit_delay_seconds
        if not 0 <= least <= most:
            raise ValueError("commit_delay_seconds must be (least, most), neither negative")
        if not 0 <= self.gap_share <= 1:
            raise ValueError("gap_share must be between 0 and 1")
        if self.tie_size < 1:
            raise ValueError("tie_size must be at least 1")
