"""Builds the site: ``nox -s docs``, or ``sphinx-build -W docs docs/_build/html``."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # all_commands

project = "futureagi_async"
author = "The futureagi_async contributors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's own name
release = version = installed_version("futureagi-async")

extensions = [
    "myst_nb",  # Markdown, and the notebook with the outputs that are stored in it
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "cyclopts.ext.sphinx",
    "all_commands",
]
exclude_patterns = ["_build", "examples"]
default_role = "py:obj"  # docstrings set names in single backticks: links where there is something to link to

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # tests/test_notebook.py runs it

autodoc_mock_imports = ["ray"]  # too large to draw a page
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
suppress_warnings = ["ref.python"]  # the type ``bytes``, where several classes have a field of that name
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "futureagi_async"
html_static_path = ["_static"]
html_css_files = ["site.css"]
copybutton_prompt_text = "$ "
smartquotes = False  # "--option" stays as it is typed

linkcheck_ignore = [r"https://(api|app)\.futureagi\.com"]  # they want keys
linkcheck_timeout = 20
