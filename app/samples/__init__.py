"""Samples of scored documents, from which the ranks of sampling functions are estimated."""
