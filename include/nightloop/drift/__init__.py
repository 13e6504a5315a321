"""Profiles, distances and the decision to retrain."""
