"""Checkpoints of models, averaged tensor by tensor: `averaging`, over `reading` and `writing`."""
