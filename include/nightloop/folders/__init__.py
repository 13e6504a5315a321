"""What people write: sources and use cases, read, typed, checked. No store, no engine: Airflow parses with it."""
