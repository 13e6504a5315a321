"""The SQL warehouse for people: tables, views, loading by run key. Nothing is computed from its rows."""
