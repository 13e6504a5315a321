"""Which model scores which nights."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ScoringModel:
    """What scoring needs to know of a registered model."""

    version: int
    feature_version: str
    columns: tuple[str, ...]
    uri: str
    digest: str


def group_nights(models: Mapping[datetime, ScoringModel]) -> list[tuple[ScoringModel, list[datetime]]]:
    """Return each model with the nights it scores, in the order of versions: one pass over the data per model."""
    by_version: dict[int, tuple[ScoringModel, list[datetime]]] = {}
    for night in sorted(models):
        by_version.setdefault(models[night].version, (models[night], []))[1].append(night)
    return [by_version[version] for version in sorted(by_version)]
