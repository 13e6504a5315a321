"""Treatment of personal data before anything is written."""
