"""The seeded generator of the packaged use cases' data, with drift to order."""
