"""report.html: one page with everything of a study in it, that opens with no network."""

from hybrid_dip.study.reporting.page.content import page_content
from hybrid_dip.study.reporting.page.writing import render

__all__ = ["page_content", "render"]
