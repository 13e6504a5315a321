"""Metrics, paired comparison, the checks and the gate. Fits nothing and knows no family of models."""
