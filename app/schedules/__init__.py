"""Schedules: which data, at which batch and rate, over the tokens of a training."""
