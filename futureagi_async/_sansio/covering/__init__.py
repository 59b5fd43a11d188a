"""Decides which page of a list to read next, and when the list is provably complete.

`cover` chooses between one page (`atomic`), a cover of key ranges (`keycover`) and windows of creation time
(`atomic`), within a `budget`, and works around pages that fail (`failing`). `FastRead` reads without a proof.
A key cover is a pass of overlapping `windows` (`passes`, `keyranges`, `repairs` of gaps), a second read of
the end (`tails`), and a last read of the front (`fronts`). `places` counts the positions without rows that
deleted calls leave. `pages` has the types that all modules share; `seen_ids` recognises duplicates.
"""

from futureagi_async._sansio.covering.cover import Cover
from futureagi_async._sansio.covering.fast import FastRead
from futureagi_async._sansio.covering.pages import Conclusion, ListTraits, PageRequest, PageResult
from futureagi_async._sansio.covering.seen_ids import SeenIds

__all__ = ["Conclusion", "Cover", "FastRead", "ListTraits", "PageRequest", "PageResult", "SeenIds"]
