"""Check that the libraries of the extra ``[analysis]`` are installed."""

from importlib.util import find_spec

_NEEDED = {"numpy": "numpy>=1.26", "scipy": "scipy>=1.12", "statsmodels": "statsmodels>=0.14.2"}


def check_installed() -> None:
    """Raise `ModuleNotFoundError` with the command that installs the missing libraries."""
    missing = [line for name, line in _NEEDED.items() if find_spec(name) is None]
    if missing:
        lines = " ".join(f"'{line}'" for line in missing)
        raise ModuleNotFoundError(f"The analysis of calls needs more libraries: pip install {lines}")
