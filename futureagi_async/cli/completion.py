"""The command `completion`: scripts for shells that complete commands and options."""

from typing import Annotated, Literal

from cyclopts import Parameter

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


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="The shell that you use.")], /
) -> int:
    """Print a script for your shell that completes commands and options."""
    from futureagi_async.cli import make_app

    write_text(make_app("completion").generate_completion(shell=shell))
    return ExitCode.DONE
