"""Expectations on rows and partitions, and their page. What follows from a failed one is decided by the job."""
