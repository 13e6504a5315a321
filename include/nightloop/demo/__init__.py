"""The demo: the whole loop, told through the real scheduler on simulated data."""
