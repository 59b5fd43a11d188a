"""The command line: arguments -> the package's public functions -> exit code. Needs cyclopts and rich."""

import sys
from collections.abc import Sequence
from typing import cast

from cyclopts import App, CycloptsError, Parameter

from futureagi_async import FutureAGIError, NotFoundError, __version__
from futureagi_async.cli.call import call
from futureagi_async.cli.compare import COMPARE_EPILOGUE, compare
from futureagi_async.cli.completion import COMPLETION_EPILOGUE, completion_of
from futureagi_async.cli.execution import execution
from futureagi_async.cli.export import EXPORT_EPILOGUE, export
from futureagi_async.cli.gate import GATE_EPILOGUE, gate
from futureagi_async.cli.kpis import kpis
from futureagi_async.cli.ls import LS_EPILOGUE, ls
from futureagi_async.cli.messages import WHERE_IDS_ARE, UsageError, in_shell_words, usage_message
from futureagi_async.cli.plan import PLAN_EPILOGUE, plan
from futureagi_async.cli.report import REPORT_EPILOGUE, report
from futureagi_async.cli.running import ExitCode, StoppedBySignalError
from futureagi_async.cli.serve import serve
from futureagi_async.cli.streams import (
    OutputError,
    open_stdout,
    prepare_streams,
    print_error,
    print_notice,
)
from futureagi_async.cli.sync import SYNC_EPILOGUE, sync
from futureagi_async.cli.verify import VERIFY_EPILOGUE, verify
from futureagi_async.cli.waiting import WAIT_EPILOGUE, WATCH_EPILOGUE, wait, watch

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
app.command(sync, help_epilogue=SYNC_EPILOGUE)
app.command(ls, help_epilogue=LS_EPILOGUE)
app.command(plan, help_epilogue=PLAN_EPILOGUE)
app.command(gate, help_epilogue=GATE_EPILOGUE)
app.command(compare, help_epilogue=COMPARE_EPILOGUE)
app.command(report, help_epilogue=REPORT_EPILOGUE)
app.command(verify, help_epilogue=VERIFY_EPILOGUE)
app.command(wait, help_epilogue=WAIT_EPILOGUE)
app.command(watch, help_epilogue=WATCH_EPILOGUE)
for command in (call, execution, kpis, serve):
    app.command(command, help_epilogue="")  # instead of the one above
app.command(completion_of(app), help_epilogue=COMPLETION_EPILOGUE)


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
    result: object = app(
        arguments,
        console=open_stdout(),  # for help and version
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
    )
    return cast("int | None", result) or ExitCode.DONE
