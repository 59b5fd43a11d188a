"""The command line: arguments -> the package's public functions -> exit code. Needs cyclopts and rich."""

import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Annotated, Literal, cast

from cyclopts import App, CycloptsError, Parameter

from futureagi_async import FutureAGIError, __version__
from futureagi_async.cli.call import call
from futureagi_async.cli.execution import execution
from futureagi_async.cli.export import EXPORT_EPILOGUE, export
from futureagi_async.cli.kpis import kpis
from futureagi_async.cli.ls import LS_EPILOGUE, ls
from futureagi_async.cli.plan import PLAN_EPILOGUE, plan
from futureagi_async.cli.running import ExitCode, StoppedBySignalError, UsageError, print_error
from futureagi_async.cli.serve import serve
from futureagi_async.cli.verify import VERIFY_EPILOGUE, verify

COMPLETION_EPILOGUE = """\
bash, for every new terminal:
  mkdir -p ~/.local/share/bash-completion/completions
  futureagi-async completion bash \\
      > ~/.local/share/bash-completion/completions/futureagi-async

zsh, with 'fpath+=~/.zfunc' before 'compinit' in ~/.zshrc:
  mkdir -p ~/.zfunc
  futureagi-async completion zsh > ~/.zfunc/_futureagi-async

fish:
  mkdir -p ~/.config/fish/completions
  futureagi-async completion fish \\
      > ~/.config/fish/completions/futureagi-async.fish
"""


def completion_of(app: App) -> Callable[..., int]:
    """Return the command for an app."""

    def completion(
        shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Whose script to print.")], /
    ) -> int:
        """Print a script with which a shell completes commands and options."""
        sys.stdout.write(app.generate_completion(shell=shell))
        return ExitCode.DONE

    return completion


__all__ = ["app", "run"]

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

app = App(
    name="futureagi-async",
    version=f"futureagi-async {__version__}",
    help="Read the results of Future AGI simulations: calls, transcripts, evaluations.",
    help_epilogue=_EPILOGUE,
    default_parameter=Parameter(negative=(), show_default=False),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # answered below
)
app.command(export, help_epilogue=EXPORT_EPILOGUE)
app.command(ls, help_epilogue=LS_EPILOGUE)
app.command(plan, help_epilogue=PLAN_EPILOGUE)
app.command(verify, help_epilogue=VERIFY_EPILOGUE)
for command in (call, execution, kpis, serve):
    app.command(command, help_epilogue="")  # instead of the one above
app.command(completion_of(app), help_epilogue=COMPLETION_EPILOGUE)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; ``None`` takes the process's own arguments."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names in any script, whatever the terminal can
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain again when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED


def _run(arguments: Sequence[str]) -> int:
    try:
        return cast("int | None", _call(arguments)) or ExitCode.DONE
    except CycloptsError as error:
        print_error(f"{error} See --help.")
        return ExitCode.USAGE
    except UsageError as error:
        print_error(str(error))
        return ExitCode.USAGE
    except FutureAGIError as error:
        print_error(str(error))
        return ExitCode.FAILED
    except (StoppedBySignalError, KeyboardInterrupt) as error:
        sys.stderr.write(f"Interrupted: {error}\n" if str(error) else "Interrupted.\n")
        return ExitCode.INTERRUPTED


def _call(arguments: Sequence[str]) -> object:
    return app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
