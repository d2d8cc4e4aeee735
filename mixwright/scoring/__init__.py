"""Scores of documents, computed here: no model is downloaded."""
