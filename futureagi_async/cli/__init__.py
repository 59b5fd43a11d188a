"""The command line: arguments -> the package's public functions -> exit code. Needs cyclopts and rich."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, cast

from cyclopts import App, CycloptsError, Parameter

from futureagi_async import FutureAGIError, NotFoundError, __version__
from futureagi_async.cli.messages import WHERE_IDS_ARE, UsageError, in_shell_words, usage_message
from futureagi_async.cli.running import ExitCode, StoppedBySignalError
from futureagi_async.cli.streams import (
    OutputError,
    open_stdout,
    prepare_streams,
    print_error,
    print_notice,
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
    "call": ("call", "Show a call: facts, scores, evaluations, transcript."),
    "compare": ("compare", "Compare runs: what rose, what fell, and whether chance explains it."),
    "completion": ("completion", "Print a script with which a shell completes commands and options."),
    "execution": ("execution", "Show a test execution: status, columns, a page of calls."),
    "export": ("export", "Write all calls of run tests, agent versions and test executions into files."),
    "gate": ("gate", "Check figures of calls against rules, for CI: the exit code tells."),
    "kpis": ("kpis", "Show a test execution's key figures."),
    "ls": ("ls", "List what there is: run tests, their executions, agents, their versions."),
    "plan": ("plan", "Estimate what an export would cost, with a few small requests."),
    "report": ("report", "Write an HTML page with plots, about a run or about what changed."),
    "serve": ("serve", "Run a stand-in server with sample data, until Ctrl-C."),
    "sync": ("sync", "Bring a database up to date with the calls of lists."),
    "verify": ("verify", "Check whether the files of an export are as they were written."),
    "wait": ("waiting", "Wait until a test execution, its calls and their evaluations are final."),
    "watch": ("waiting", "Watch a test execution: its calls by status, and its pending evaluations."),
}
"""Of each command its module, and its line in the list: the first sentence of its docstring.

Only the command that is asked for is imported, and the HTTP client when it reads: ``--help`` took four times
as long when all were. So commands write ``sdk.Session``, a name that the package looks up when it is used.
"""


def make_app(asked: str | None = None) -> App:
    """Return the app, with the command that is asked for, or all of them for ``completion``."""
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
            epilogue = getattr(module, f"{name.upper()}_EPILOGUE", "")  # none, instead of the one above
            app.command(getattr(module, name), help_epilogue=epilogue)
        else:
            app.command(f"{path}:{name}", name=name, help=summary)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; ``None`` takes the process's own arguments."""
    prepare_streams()
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except CycloptsError as error:
        print_error(usage_message(error))
        return ExitCode.USAGE
    except UsageError as error:
        print_error(str(error))
        return ExitCode.USAGE
    except NotFoundError as error:
        print_error(f"{in_shell_words(str(error))} {WHERE_IDS_ARE}")
        return ExitCode.FAILED
    except FutureAGIError as error:
        print_error(in_shell_words(str(error)))
        return ExitCode.FAILED
    except OutputError as error:
        if not error.reader_left:
            print_error(str(error))
        return ExitCode.FAILED
    except OSError as error:  # too many open files, no room for a temporary one
        print_error(f"The system refuses: {error.strerror or error}.")
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
