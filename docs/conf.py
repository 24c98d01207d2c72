"""Settings of Sphinx for `make docs`. The source is the whole repository, so that links between its pages lead somewhere."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent)]

from small import gallery  # noqa: E402

import hybrid_dip  # noqa: E402

project, author = "hybrid_dip", "the hybrid_dip developers"
version = release = hybrid_dip.__version__
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "experiments/**", "benchmarks/**", "pretrained/*.md", "examples/**"]
exclude_patterns = [".venv", ".git", "docs/_build", "docs/gallery", "docs/extensions", "**/images"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "plain_docstrings",
    "repository_links",
]

# A report that a page of experiments/ links to is in no list of pages.
suppress_warnings = ["toc.not_included", "myst.header"]

# Pages are written for GitHub, which gives every heading an anchor and takes pictures as HTML.
myst_enable_extensions = ["html_image"]
myst_heading_anchors = 3

autosummary_generate = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
add_module_names = False
python_use_unqualified_type_names = True
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True

sphinx_gallery_conf = {
    "examples_dirs": gallery(HERE, small=os.environ.get("HYBRID_DIP_GALLERY") == "small"),
    "gallery_dirs": "docs/generated/gallery",
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "docs/generated/examples",
    "doc_module": ("hybrid_dip", "pretrained"),
    "reference_url": {"hybrid_dip": None, "pretrained": None},
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "capture_repr": ("_repr_html_",),
}

html_theme = "furo"
html_title = "hybrid_dip"
html_extra_path = ["extra"]
html_copy_source = html_show_copyright = False
