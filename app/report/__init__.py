"""Self-contained pages: on a recommendation, how far to trust it, a schedule, and a training."""
