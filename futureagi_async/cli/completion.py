"""The command `completion`: scripts with which shells complete commands and options."""

from collections.abc import Callable
from typing import Annotated, Literal

from cyclopts import App, Parameter

from futureagi_async.cli.running import ExitCode
from futureagi_async.cli.streams import write_text

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
        write_text(app.generate_completion(shell=shell))
        return ExitCode.DONE

    return completion
