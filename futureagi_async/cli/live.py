"""The base classes of progress displays: one that shows nothing, one that a terminal redraws in place."""

from typing import Self

from rich.live import Live


class Silent:
    """Shows nothing. Other displays show something while their ``with`` block runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Redrawn(Silent):
    """Shows a live display while the ``with`` block runs."""

    _live: Live

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
