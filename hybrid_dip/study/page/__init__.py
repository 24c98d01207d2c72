"""report.html: one page with everything of a study in it, that opens with no network."""

from hybrid_dip.study.page.content import page_content
from hybrid_dip.study.page.writing import render

__all__ = ["page_content", "render"]
