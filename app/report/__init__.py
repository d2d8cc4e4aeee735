"""One self-contained page that says what was recommended, and how far to trust it."""

from app.report.page import render_report

__all__ = ["render_report"]
