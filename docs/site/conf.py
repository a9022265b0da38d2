"""Configuration of Sphinx. `docs/site/build.py` runs it."""

from __future__ import annotations

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from ftkit import __version__

project = "ftkit"
author = "The ftkit developers"
release = __version__
version = __version__
project_copyright = "The ftkit developers, Apache-2.0"
html_title = f"ftkit {__version__}"

extensions = ["myst_parser"]
root_doc = "index"
nitpicky = True
"""References that lead nowhere are warnings, and `build.py` makes warnings errors."""

myst_heading_anchors = 4
"""Headings down to this level have the anchors that GitHub gives them."""

templates_path = ["_templates"]
pygments_style = "default"

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["copy.js", "filter.js"]
html_sidebars = {"**": ["navigation.html"]}
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_copy_source = False
html_use_index = False
html_theme_options = {
    "logo": {"text": f"ftkit {__version__}"},
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button-field"],
    "secondary_sidebar_items": ["page-toc"],
    "primary_sidebar_end": [],
    "article_header_start": [],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def setup(app: Sphinx) -> None:
    """Register the language of the tables in the pages, which Pygments does not know."""
    app.add_lexer("csv", TextLexer)
