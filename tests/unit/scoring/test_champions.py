"""Each night is scored by its own champion."""

from datetime import UTC, datetime

from nightloop.scoring.champions import ScoringModel, group_nights


def test_nights_are_grouped_by_their_champion() -> None:
    first, second = (ScoringModel(version, "v1", ("x",), "uri", "digest") for version in (1, 2))
    nights = [datetime(2025, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    models = {nights[2]: second, nights[0]: first, nights[1]: first}
    assert group_nights(models) == [(first, nights[:2]), (second, nights[2:])]
