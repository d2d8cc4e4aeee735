"""Client of a Mixwright server, for training jobs. Nothing is in it yet: use the HTTP API."""

__version__ = "0.1.0"
