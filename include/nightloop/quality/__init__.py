"""Expectations on rows and partitions."""
