"""Remove a person from every store: find, erase step by step, verify, certify. Treatment at landing is `privacy`."""
