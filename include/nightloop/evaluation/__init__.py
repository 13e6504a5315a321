"""Metrics, paired comparison, the checks and the gate. It fits no candidate and knows no family of models."""
