"""The HTTP service: stores studies and runs, and has fits and recommendations computed."""
