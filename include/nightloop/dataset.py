"""Name a dataset of the lake. Standard library only."""

from dataclasses import dataclass
from typing import Literal

Layer = Literal["raw", "clean", "quarantine", "features", "labels", "scores"]


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """One Delta table: a layer, the source or use case that owns it, and for features their version.

    Every table is partitioned by (`night`, `variant`); see `nightloop.run.format_night`.
    """

    layer: Layer
    owner: str
    version: str = ""

    @property
    def path(self) -> str:
        """Path below the lake's root.

        >>> DatasetRef("features", "taxi_duration", "1f3a").path
        'features/taxi_duration/1f3a'
        """
        return "/".join(part for part in (self.layer, self.owner, self.version) if part)

    def __str__(self) -> str:
        return self.path
