"""Links that GitHub follows and a page of Sphinx cannot: to a folder, and to a script of the gallery."""

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx

SCRIPTS, PAGES = "docs/gallery", "docs/generated/gallery"


def page_of(target: Path, source: Path) -> str:
    """The page that shows a file or a folder, or ""."""
    if target == source / SCRIPTS:
        return f"{PAGES}/index"
    if target.parent == source / SCRIPTS:
        return f"{PAGES}/{target.stem}"
    return (target / "README").relative_to(source).as_posix() if (target / "README.md").is_file() else ""


def follow(app: Sphinx, doctree: nodes.document) -> None:
    """Lead a page's links to folders and scripts to the pages of these; where there is none, the link's text is left."""
    here = app.env.doc2path(app.env.docname).parent
    for link in [*doctree.findall(pending_xref), *doctree.findall(download_reference)]:
        target = (here / link["reftarget"]).resolve()
        if link["reftype"] not in ("myst", "download") or not (target.is_dir() or target.parent == app.srcdir / SCRIPTS):
            continue
        page, shown = page_of(target, app.srcdir), link.children
        if page:
            where = {"refdoc": app.env.docname, "refdomain": "std", "reftype": "doc", "reftarget": f"/{page}"}
            shown = [pending_xref("", *link.children, refexplicit=True, refwarn=True, **where)]
        link.replace_self(shown)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("doctree-read", follow)
    return {"parallel_read_safe": True}
