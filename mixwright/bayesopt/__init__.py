"""Multi-fidelity Bayesian optimisation: which mixture to train next, at which scale."""
