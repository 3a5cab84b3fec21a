"""How Sphinx makes a site of this folder: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from airyd import __version__  # noqa: E402  # the tree was not on the path before

project = "airyd"
author = "the authors of airyd"
version = release = __version__
language = "en"

extensions = ["sphinx.ext.autodoc", "docs.site_extension"]
exclude_patterns = ["examples", "performance"]
highlight_language = "none"
# A reference that leads nowhere is a warning, and make docs makes errors of warnings.
nitpicky = True
# Types of Python and of libraries: no inventory of theirs is fetched, so that the build needs no network.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!airyd\.).*"),
]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True

html_theme = "alabaster"
html_theme_options = {
    "description": "Airy's events for thousands of browsers: STOMP over WebSocket, on Twisted",
    "page_width": "64rem",
    "sidebar_width": "15rem",
    "fixed_sidebar": True,
    "show_powered_by": False,
}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
