"""From landed files to typed, audited rows, by a source's params. Where files lie and rows go is not known here."""
