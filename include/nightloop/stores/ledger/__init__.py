"""The ledger, which decides: rows and queries of one SQL schema. What follows from a row stands in `loop`."""
