"""Mixwright's numeric core: mixtures, constraints, surrogates and recommendations on arrays."""

__version__ = "0.1.0"
