"""What a run reads and decides between stores and domains. Formulas are in the domains, tables in the stores."""
