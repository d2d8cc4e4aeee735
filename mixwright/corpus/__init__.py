"""Corpora: text turned into token stores that training workers read."""
