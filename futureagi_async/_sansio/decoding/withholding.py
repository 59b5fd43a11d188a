"""Which lists send ``[]`` for a transcript that they withhold."""

from futureagi_async.sources import AgentVersionCalls, CallSource, TestExecutionCalls

WITHHOLDING = frozenset((TestExecutionCalls, AgentVersionCalls))
"""The kinds of lists that do."""


def withholds(source: CallSource | None, record: bytes, call_type: str | None) -> bool:
    """Whether an empty transcript means "ask for the detail" rather than "nothing was said".

    ``call_type`` is the record's ``simulation_call_type``.
    """
    if isinstance(source, TestExecutionCalls):
        return b'"duration_seconds":' in record  # the served dialect, which never sends one here
    return isinstance(source, AgentVersionCalls) and call_type == "text"
