"""The command line: ``python -m futureagi_async``, also installed as ``futureagi-async``."""

import sys

_EXTRAS = ("cyclopts", "rich")
_INSTALL = "pip install 'cyclopts>=5' 'rich>=13.9'"  # works from wherever this package itself was installed


def main() -> int:
    """Run the command that the arguments name, and return its exit code."""
    try:
        from futureagi_async.cli import run
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _EXTRAS:
            raise
        if sys.stderr is not None:
            sys.stderr.write(f"error: The command line needs {library} (the extra [cli]): {_INSTALL}\n")
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
