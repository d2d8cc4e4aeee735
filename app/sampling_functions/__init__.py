"""Sampling functions: how many copies of a document to take, made of θ and a study's sample."""
