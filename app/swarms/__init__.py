"""Swarms: proxy runs trained in groups by our own workers."""
