"""Exports: a recommendation as text to paste into a trainer."""
