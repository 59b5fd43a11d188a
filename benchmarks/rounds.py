"""Measures rivals side by side: interleaved rounds in one run, CPU time, medians of ratios.

A ratio is taken within each round, between neighbours in time, so that a machine that is slow for a
while is slow for both. Ratios of two runs compare; times of two machines do not.
"""

import argparse
import gc
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Literal, TypeAlias

import attrs

Run: TypeAlias = Callable[[], object]
"""One round's work of one rival."""


@attrs.define(frozen=True)
class Timings:
    """Seconds of every round, by rival."""

    seconds: Mapping[str, Sequence[float]]

    def ratio(self, rival: str, against: str) -> float:
        """Return how many times as much ``rival`` takes as ``against``, round by round: the median."""
        pairs = zip(self.seconds[rival], self.seconds[against], strict=True)
        return median(one / other for one, other in pairs)

    def microseconds(self, rival: str, *, units: int = 1) -> float:
        """Return the median round, divided by what it handled."""
        return median(self.seconds[rival]) / units * 1e6


def interleave(
    rivals: Mapping[str, Run], *, rounds: int, clock: Callable[[], float] = time.process_time
) -> Timings:
    """Let every rival run once a round, in an order that rotates, each on a collected heap.

    The garbage collector stays on, as in any program; one rival's garbage is not another's bill.
    """
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    names = list(rivals)
    for run in rivals.values():
        run()  # imports, caches and connections are no one's first round
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()
            began = clock()
            rivals[name]()
            seconds[name].append(clock() - began)
    return Timings(seconds)


@attrs.define(frozen=True)
class Figure:
    """One line of the table: what was measured, and whether it is what was asked for."""

    measure: str
    value: float
    goal: float | None = None
    """``None`` for what is only shown for comparison."""
    unit: Literal["", " ms"] = ""
    """Ratios have none."""
    at_least: bool = False
    """Whether more is better."""

    @property
    def measured(self) -> str:
        """The value in hundredths, or in thousandths if it misses the goal by less."""
        hidden = self.goal is not None and not self.reached and f"{self.value:.2f}" == f"{self.goal:.2f}"
        return f"{self.value:.{3 if hidden else 2}f}{self.unit}"

    @property
    def reached(self) -> bool | None:
        """Whether the goal is met."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def print_table(heading: str, figures: Iterable[Figure]) -> None:
    """Print a Markdown table."""
    print(f"\n| {heading} | measured | goal | reached |")
    print("| --- | ---: | ---: | --- |")
    for figure in figures:
        goal, reached = "", ""
        if figure.goal is not None:
            goal = f"{'≥' if figure.at_least else '≤'} {figure.goal:g}{figure.unit}"
            reached = "yes" if figure.reached else "**no**"
        print(f"| {figure.measure} | {figure.measured} | {goal} | {reached} |", flush=True)


def read_rounds(description: str | None, default: int) -> int:
    """Read ``--rounds`` from the command line."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=default, help=f"default: {default}")
    rounds: int = parser.parse_args().rounds
    if rounds < 1:
        parser.error("--rounds must be at least 1")
    return rounds
