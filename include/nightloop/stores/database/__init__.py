"""What ledger and warehouse share: engine, column types, migrations, erasing of rows. No table of theirs."""
