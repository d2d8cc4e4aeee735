"""Recommendations: the mixture to use, with its evidence."""
