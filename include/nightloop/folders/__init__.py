"""What people write, read, typed, checked, and what follows from it alone: nights, versions, lineage. No store."""
