"""Which documents to keep, and how often."""
