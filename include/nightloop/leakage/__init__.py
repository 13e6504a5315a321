"""Look for leakage in training rows before anything is fitted: figures of every column, judged by limits."""
