"""Which page of a list to read next, and what is then proven: `Cover`, and `FastRead` without proof.

The way down: `cover` chooses between one page (`atomic`), a cover of key ranges (`keycover`) and windows
of creation time (`creation`). A key cover is a pass of overlapping windows (`passes`, `windows`,
`keyranges`), the end read again (`tails`), and the front read last (`sweeping`). `lists` holds what all
of them talk about, `seen_ids` tells records apart.
"""

from futureagi_async._sansio.covering.cover import Cover
from futureagi_async._sansio.covering.fast import FastRead
from futureagi_async._sansio.covering.pages import Conclusion, ListTraits, PageRequest, PageResult
from futureagi_async._sansio.covering.seen_ids import SeenIds

__all__ = ["Conclusion", "Cover", "FastRead", "ListTraits", "PageRequest", "PageResult", "SeenIds"]
