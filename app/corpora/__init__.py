"""Corpora: token stores that training workers read."""
