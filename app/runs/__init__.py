"""Runs: what a training run showed."""
