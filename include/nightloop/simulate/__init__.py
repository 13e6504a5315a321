"""The seeded generator of the packaged use cases' data, with drift and faults to order. Knows no job."""
