"""Which file is of which night, and from files to typed, audited rows, by a source's params. Opens no store."""
