"""What can go wrong with corpora."""

from mixwright.errors import MixwrightError


class CorpusError(MixwrightError):
    """A corpus that cannot be built, found or trusted; says which file and what to do."""
