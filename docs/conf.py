"""How Sphinx builds the documentation: `make docs`."""

import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import mlref  # noqa: E402

for module in pkgutil.walk_packages(
    mlref.__path__, "mlref."
):  # as users do, before autodoc's own way
    importlib.import_module(module.name)

project = "mlref"
author = "The mlref authors"
copyright = "The mlref authors, MIT licence"
version = release = mlref.__version__

extensions = [
    "myst_nb",  # Markdown pages and notebooks
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
root_doc = (
    "contents"  # its toctrees are the sidebar; index.md is plain Markdown, read on GitHub too
)
exclude_patterns = ["_build", "reference/api/modules.rst"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!mlref\.(?!.*\._)).*"),
    ("py:class", r"mlref\.(core\.config\.Model|serving\.request\.Kind)"),  # type variables
]  # other projects' names: no network, no index
# A shape such as (n, features) is looked up as if it were a type, and three packages have a class Model.
suppress_warnings = ["ref.python"]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # shown as committed; `make test-docs` executes them

apidoc_modules = [
    {"path": "../src/mlref", "destination": "reference/api", "separate_modules": True,
     "module_first": True, "automodule_options": {"members", "show-inheritance"}},
]  # fmt: skip
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {  # what scikit-learn adds has links into its own documentation
    "exclude-members": "set_fit_request, set_predict_request, set_score_request"
}
napoleon_google_docstring = False

copybutton_prompt_text = r"\$ |> "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"

html_theme = "furo"
html_title = "mlref"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sphinx = False


def drop_aliases(
    app: object, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Leave out what collections.namedtuple says of each of its fields."""
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", drop_aliases)
