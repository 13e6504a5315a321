"""Profiles, distances and the decision to retrain: pure functions of what was known in a night. Reads no store."""
