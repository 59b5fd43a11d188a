"""Unit conversions that keep a missing number missing."""


def seconds(ms: float | None) -> float | None:
    """Milliseconds as seconds, to the millisecond."""
    return None if ms is None else round(ms / 1000, 3)


def dollars(cents: int | None) -> float | None:
    """Cents as US dollars."""
    return None if cents is None else cents / 100


def mean(values: list[float], digits: int) -> float:
    """Return the rounded mean; 0.0 for no values, which is what the vendor sends for "no data"."""
    return round(sum(values) / len(values), digits) if values else 0.0
