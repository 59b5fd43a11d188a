"""The command line: calls the public functions and returns an exit code. Needs cyclopts and rich."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, cast

from cyclopts import App, CycloptsError, Parameter

from futureagi_async import FutureAGIError, NotFoundError, __version__
from futureagi_async.cli.messages import UsageError, in_shell_words, not_found_message, usage_message
from futureagi_async.cli.running import ExitCode, StoppedBySignalError, failure_code
from futureagi_async.cli.streams import (
    OutputError,
    open_stdout,
    prepare_streams,
    print_error,
    print_notice,
    warnings_as_lines,
)

__all__ = ["make_app", "run"]

_EPILOGUE = """\
Try it without keys:
  futureagi-async export --demo -o calls.jsonl
  futureagi-async call --demo

With keys, which the Future AGI dashboard shows under Settings:
  export FI_API_KEY=... FI_SECRET_KEY=...
  futureagi-async ls
  futureagi-async export --run-test "Checkout flow" -o calls.jsonl

Every command has its own --help.
"""

_COMMANDS: Final = {
    "call": ("call", "Show a call: its facts, scores, evaluations and transcript."),
    "compare": ("compare", "Compare runs: which figures changed, and which changes are significant."),
    "completion": ("completion", "Print a script for your shell that completes commands and options."),
    "execution": ("execution", "Show a test execution: its status, its columns and a page of its calls."),
    "export": ("export", "Export all calls of run tests, agent versions and test executions to files."),
    "gate": ("gate", "Check the figures of calls against rules. In CI, use the exit code."),
    "kpis": ("kpis", "Show the key figures of a test execution."),
    "ls": ("ls", "List run tests, test executions, agents and agent versions."),
    "plan": ("plan", "Estimate the records, requests, size and time of an export."),
    "report": ("report", "Write an HTML report with charts about a run, or about two runs compared."),
    "serve": ("serve", "Run a stand-in server with sample data until you press Ctrl-C."),
    "sync": ("sync", "Update a database with new and changed calls."),
    "verify": ("verify", "Check that the files of an export are unchanged."),
    "wait": ("waiting", "Wait until a test execution, its calls and their evaluations are final."),
    "watch": ("waiting", "Watch a test execution: its calls by status and its pending evaluations."),
}
"""The module of each command, and its line in the list of commands: the first sentence of its docstring.

Only the requested command is imported. The HTTP client is imported when the command sends its first request.
With all imports, ``--help`` took four times as long. So commands write ``sdk.Session``: the package looks up
that name when it is used.
"""


def make_app(asked: str | None = None) -> App:
    """Return the app with the requested command imported, or with all commands for ``completion``."""
    app = App(
        name="futureagi-async",
        version=f"futureagi-async {__version__}",
        help="Read the results of Future AGI simulations: calls, transcripts, evaluations.",
        help_epilogue=_EPILOGUE,
        default_parameter=Parameter(negative=(), show_default=False),
        help_format="plaintext",
        suppress_keyboard_interrupt=False,  # answered below
    )
    for name, (home, summary) in _COMMANDS.items():
        path = f"{__name__}.{home}"
        if asked in (name, "completion"):
            module = import_module(path)
            epilogue = getattr(
                module, f"{name.upper()}_EPILOGUE", ""
            )  # empty, so that the app's epilogue is not repeated
            app.command(getattr(module, name), help_epilogue=epilogue)
        else:
            app.command(f"{path}:{name}", name=name, help=summary)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; ``None`` takes the process's own arguments."""
    prepare_streams()
    try:
        with warnings_as_lines():
            return _run(sys.argv[1:] if arguments is None else arguments)
    except CycloptsError as error:
        print_error(usage_message(error))
        return ExitCode.USAGE
    except UsageError as error:
        print_error(str(error))
        return ExitCode.USAGE
    except NotFoundError as error:
        print_error(not_found_message(error))
        return ExitCode.FAILED
    except FutureAGIError as error:
        print_error(in_shell_words(str(error)))
        return failure_code(error)
    except OutputError as error:
        if not error.reader_left:
            print_error(str(error))
        return ExitCode.FAILED
    except OSError as error:  # too many open files, no room for a temporary one
        print_error(f"The operating system reports an error: {error.strerror or error}.")
        return ExitCode.FAILED
    except (StoppedBySignalError, KeyboardInterrupt) as error:
        print_notice(f"Interrupted: {error}" if str(error) else "Interrupted.")
        return ExitCode.INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    app = make_app(arguments[0] if arguments else None)
    result: object = app(
        arguments,
        console=open_stdout(),  # for help and version
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
    )
    return cast("int | None", result) or ExitCode.DONE
