"""The seeded generator of the packaged use cases' data, with drift to order."""

from nightloop.simulate.params import Drift, FaultParams
from nightloop.simulate.world import SimulationReport, SourceNight, simulate

__all__ = ["Drift", "FaultParams", "SimulationReport", "SourceNight", "simulate"]
