"""Self-contained pages: on a recommendation, how far to trust it, a schedule, and a training."""

from app.report.comparison_page import render_comparison
from app.report.page import render_report
from app.report.schedule_page import render_schedule
from app.report.training_page import render_training

__all__ = ["render_comparison", "render_report", "render_schedule", "render_training"]
