"""From landed files to typed, audited rows."""
