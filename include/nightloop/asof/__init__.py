"""As-of views: what was known at each row's decision time, and nothing later."""
