"""All input and output: lake, warehouse, ledger, registry, reports, landing zone."""
