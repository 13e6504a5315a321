"""As-of views: what was known at each decision time, and nothing later. Which nights and tables, says `loop`."""
