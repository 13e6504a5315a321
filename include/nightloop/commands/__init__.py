"""The command `nightloop` and what it prints. No job and no DAG imports it, and nothing is decided here."""
