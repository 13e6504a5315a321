"""Nightloop: a prediction problem is one folder; the nightly machine-learning loop comes from it."""

__version__ = "0.1.0"
