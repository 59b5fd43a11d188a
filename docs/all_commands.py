"""Sphinx's directive ``all-commands``: what cyclopts says of each command, its examples and exit codes."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from futureagi_async.cli import make_app

app = make_app("completion")  # which knows all commands
app.help = ""  # it would stand above each of them


class AllCommands(SphinxDirective):
    """Writes source that the parser goes on with."""

    def run(self) -> list[nodes.Node]:
        """Insert a section for each command."""
        lines: list[str] = []
        for name in app:
            if name.startswith("-"):  # --help and --version
                continue
            lines += [f".. cyclopts:: {__name__}:app", f"   :commands: {name}"]
            lines += ["   :heading-level: 2", "   :flatten-commands:", ""]
            if said := app[name].help_epilogue:
                lines += [".. code-block:: text", "", *(f"   {line}" for line in said.splitlines()), ""]
        source, _ = self.get_source_info()
        self.state_machine.insert_input(lines, source)
        return []


def unlink_scheme(_: Sphinx, document: nodes.document) -> None:
    """Show the ``http://`` of a help text as code: docutils makes it a link that leads nowhere."""
    for link in document.findall(lambda node: isinstance(node, nodes.reference)):
        if link.get("refuri") == "http://":
            link.replace_self(nodes.literal(text="http://"))


def setup(sphinx: Sphinx) -> None:
    """Add the directive, and mend what becomes of its texts."""
    sphinx.add_directive("all-commands", AllCommands)
    sphinx.connect("doctree-read", unlink_scheme)
