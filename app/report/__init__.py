"""Self-contained pages: on a recommendation and how far to trust it, and on a training."""

from app.report.page import render_report
from app.report.training_page import render_training

__all__ = ["render_report", "render_training"]
