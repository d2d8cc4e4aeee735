"""Training of proxy models. Knows the service by its messages only."""
