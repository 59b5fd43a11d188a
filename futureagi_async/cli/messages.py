"""Error messages for the command line: they name options, not parameters, and give examples."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Final

from cyclopts import CoercionError, CycloptsError, MissingArgumentError
from cyclopts.exceptions import ConsumeMultipleError, UnusedCliTokensError

WHERE_IDS_ARE: Final = "Check the id: 'futureagi-async ls' lists ids, and an export has the ids of calls."


class UsageError(Exception):
    """The arguments or the environment are wrong. No request was sent."""


_OPTIONS: Final = {
    "allow_private_hosts=True": "--allow-private-hosts",
    "allow_insecure=True": "--allow-insecure",
    "overwrite=True (--force)": "--force",
    "resume=False (--restart)": "--restart",
    "ssl_context=...": "--ca-file FILE",
    "proxy=...": "--proxy URL",
    "transcripts=True": "--transcripts",
    "include_provider_data=True": "--include-provider-data",
    "(max_response_bytes). Ask for smaller pages, or raise that limit.": "(the limit). Ask for fewer.",
    "agent_id": "AGENT of --agent-version",
    "base_url": "--base-url",
    "max_in_flight": "--max-in-flight",
    "max_requests_per_minute": "--max-requests-per-minute",
    "page_size": "--page-size",
    "include_provider_data": "--include-provider-data",
    "normalised=True": "--normalised",
    "part_rows": "--part-rows",
    "FI_REDACT_KEY, or give redact_key=...": "FI_REDACT_KEY.",
    "run_test_id": "--run-test",
    "test_execution_id": "--test-execution",
    "verify_export": "'futureagi-async verify'",
    "version_id": "VERSION of --agent-version",
}
"""Parameters that are replaced anywhere in a message, because they are no English words."""
_ANYWHERE: Final = re.compile(rf"(?<![\w./\\-])({'|'.join(map(re.escape, _OPTIONS))})(?![\w/\\=-])")

_ARGUMENTS: Final = {
    "an agent version is": "--agent-version must be",
    "columns and drop": "--columns and --drop",
    "columns": "--columns",
    "database": "DATABASE",
    "drop and columns": "--drop and --columns",
    "drop": "--drop",
    "format": "--format",
    "limit": "--limit",
    "normalised": "--normalised",
    "page": "--page",
    "partition": "--partition",
    "path": "PATH",
    "proxy": "--proxy",
    "recordings": "--recordings",
    "redact=True": "--redact",
    "redact": "--redact",
    "run_test": "--run-test",
    "search": "--search",
    "since": "--since-manifest",
    "status": "--status",
    "target": "--output",
    "url": "--url",
    "work_dir": "--work-dir",
}
"""Parameters that are replaced only at the start of a message, because they are also English words."""
_AT_THE_START: Final = re.compile(rf"^({'|'.join(_ARGUMENTS)})\b")


def not_found_message(error: Exception) -> str:
    """Return the message of a `NotFoundError`, and where to find the right id."""
    return f"{in_shell_words(str(error)).removesuffix('.')}. {WHERE_IDS_ARE}"


def in_shell_words(message: str) -> str:
    """Return a message of the library with options in place of parameters."""
    return _ANYWHERE.sub(lambda found: _OPTIONS[found[0]], message)


@contextmanager
def usage_errors(where: str = "") -> Iterator[None]:
    """Turn a `ValueError` about an argument into a `UsageError` that begins with ``where``."""
    try:
        yield
    except ValueError as error:
        message = in_shell_words(_AT_THE_START.sub(lambda found: _ARGUMENTS[found[0]], str(error)))
        raise UsageError(f"{where}: {message}" if where else message) from error


_EXAMPLES: Final = {
    "--output": "--output (-o) is missing: name the file or directory to write. For example: "
    "futureagi-async export --demo -o calls.jsonl.",
    "DATABASE": "The database is missing. Name it first. For example: "
    "futureagi-async sync calls.duckdb --all.",
    "PATH": "The export is missing. For example: futureagi-async verify 2026-01-31.",
    "SHELL": "The shell is missing. For example: futureagi-async completion bash.",
}
"""The message for each required argument that is missing."""
_KINDS: Final = {int: "a whole number", float: "a number"}


def usage_message(error: CycloptsError) -> str:
    """Return what is wrong with the arguments, and where to read more."""
    command = " ".join(("futureagi-async", *(error.command_chain or ())))
    return f"{_problem(error)} See {command} --help."


def _problem(error: CycloptsError) -> str:
    match error:
        case ConsumeMultipleError():
            return f"{error.keyword} takes one value at most, not {error.actual_count}."
        case MissingArgumentError():
            return _missing(error)
        case UnusedCliTokensError():
            return f"Unexpected argument: {' '.join(error.unused_tokens or ())}."
        case CoercionError(target_type=kind, token=token) if token is not None and token.keyword is not None:
            if kind is bool:
                return f"{token.keyword} takes no value, not {token.value!r}."
            if kind in _KINDS:
                return f"{token.keyword} must be {_KINDS[kind]}, not {token.value!r}."
    return str(error)


def _missing(error: MissingArgumentError) -> str:
    assert error.argument is not None
    given = [token.keyword for token in error.argument.tokens if token.keyword is not None]
    if option := error.keyword or (given[-1] if given else None):
        return f"{option} needs a value."
    if unknown := [token for token in error.unused_tokens or () if token.startswith("-")]:
        return _unknown_option(error, unknown[0].partition("=")[0])
    return _EXAMPLES.get(error.argument.name, str(error))


def _unknown_option(error: MissingArgumentError, unknown: str) -> str:
    """Return the message for a misspelt option, because of which another one is missing."""
    assert error.app is not None
    known = [name for each in error.app.assemble_argument_collection() for name in each.names]
    near = get_close_matches(unknown, known, n=1)
    return f"Unknown option: {unknown}." + (f" Did you mean {near[0]}?" if near else "")
