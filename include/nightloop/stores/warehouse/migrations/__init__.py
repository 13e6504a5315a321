"""Revisions of the warehouse by Alembic, applied in their order; none is ever changed."""
