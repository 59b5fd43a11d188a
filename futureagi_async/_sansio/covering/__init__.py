"""Which page of a list to read next, and what is then proven: `Cover`, and `FastRead` without proof.

The way down: `cover` chooses between one page (`atomic`), a cover of key ranges (`keycover`) and windows
of creation time (`creation`). A key cover is a pass of overlapping windows (`passes`, `windows`,
`keyranges`), the end read again (`tails`), and the front read last (`sweeping`). `lists` holds what all
of them talk about, `ledger` tells records apart.
"""

from futureagi_async._sansio.covering.cover import Cover
from futureagi_async._sansio.covering.fast import FastRead
from futureagi_async._sansio.covering.pages import Ask, Finding, ListTraits, Seen
from futureagi_async._sansio.covering.seen_ids import Ledger

__all__ = ["Ask", "Cover", "FastRead", "Finding", "Ledger", "ListTraits", "Seen"]
