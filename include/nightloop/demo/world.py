"""The outside world of the demo: it sends files into the landing zone, and changes on a date."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nightloop.engine.session import open_session
from nightloop.folders.use_case import UseCase
from nightloop.simulate.params import Drift, DriftKind
from nightloop.simulate.world import simulate


@dataclass(frozen=True)
class World:
    """Sends one use case's files; `drift` is the change it is capable of."""

    use_case: UseCase
    remote: str
    landing: str
    rows_per_night: int
    drift: DriftKind

    def send(self, nights: Sequence[datetime], changes_from: datetime | None = None) -> None:
        """Land the files of some nights; what belongs to the nights from one on is changed."""
        drifts = [Drift(kind=self.drift, at=changes_from)] if changes_from else []
        with open_session(self.remote, str(uuid.uuid4()), []) as spark:
            simulate(self.use_case, spark, self.landing, nights, self.rows_per_night, drifts=drifts)
