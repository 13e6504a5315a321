"""Registered models in MLflow, their files held to a digest. Who is champion says the ledger."""
