"""Trainings: weights that follow what a trainer tells."""
