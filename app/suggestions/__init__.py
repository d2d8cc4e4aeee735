"""Suggestions of Bayesian optimisation: computed ahead by a worker, taken by those who ask."""
