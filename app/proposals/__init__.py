"""Ask and tell: a proposal is a run that has not ended, held by whoever trains it."""
