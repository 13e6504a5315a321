"""The demo: the whole loop, told through the real scheduler on simulated data."""

from nightloop.demo.run import run_demo

__all__ = ["run_demo"]
