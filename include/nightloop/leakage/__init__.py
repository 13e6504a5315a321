"""Look for leakage in training rows before anything is fitted: figures, judged by limits. Reads no table."""
