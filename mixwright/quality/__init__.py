"""Which documents of a domain to keep, and how often: quality and diversity together."""
