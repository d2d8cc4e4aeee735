"""Fits: surrogates fitted on a study's runs."""
