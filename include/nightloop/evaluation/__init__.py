"""Metrics, paired comparison and the gate."""
