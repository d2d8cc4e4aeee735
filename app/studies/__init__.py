"""Studies: a mixture problem and its constraints."""
