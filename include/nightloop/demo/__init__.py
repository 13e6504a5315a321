"""The whole loop told through the real scheduler, on simulated data. It has no way of its own to run anything."""
