"""Which page of a list to read next, and what is then proven: `Cover`, and `FastRead` without proof.

`cover` chooses between one page (`atomic`), a cover of key ranges (`keycover`) and windows of creation
time (`atomic`), within a `budget`, and goes around pages that fail (`failing`). A key cover is a pass of
overlapping `windows` (`passes`, `keyranges`, `repairs` of gaps), the end read again (`tails`) and the
front read last (`fronts`); `places` counts where deleted calls leave holes. `pages` holds what all of
them talk about, `seen_ids` tells records apart.
"""

from futureagi_async._sansio.covering.cover import Cover
from futureagi_async._sansio.covering.fast import FastRead
from futureagi_async._sansio.covering.pages import Conclusion, ListTraits, PageRequest, PageResult
from futureagi_async._sansio.covering.seen_ids import SeenIds

__all__ = ["Conclusion", "Cover", "FastRead", "ListTraits", "PageRequest", "PageResult", "SeenIds"]
