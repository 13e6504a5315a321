"""Revisions of the ledger by Alembic, applied in their order; none is ever changed."""
