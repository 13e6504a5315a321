"""A closed night stays as it is; what has come since is in the variant `restated`, beside it."""

from datetime import timedelta

import pytest

from nightloop.run import format_night
from tests.e2e.compare import assert_equal, read_night
from tests.faults.restaurant import NIGHTS, USE_CASE, VISITS_HEADER, Restaurant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]
NIGHT = NIGHTS[0]
LATE = "LATE,2025-01-05T12:00:00Z,2,0.1,bar,false"


def test_a_late_file_changes_the_restated_night_and_not_the_closed_one(restaurant: Restaurant) -> None:
    restaurant.land_nights(NIGHTS[:1])
    restaurant.loop.ingest(NIGHT)
    restaurant.loop.run("build_features", USE_CASE, "use_case", NIGHT)
    restaurant.loop.run("decide_retraining", USE_CASE, "use_case", NIGHT)
    closed = read_night(restaurant.loop, NIGHT)
    restaurant.land("visits", "late.csv", f"{VISITS_HEADER}\n{LATE}\n", NIGHT - timedelta(minutes=1))

    restaurant.loop.ingest(NIGHT)
    restaurant.loop.run("build_features", USE_CASE, "use_case", NIGHT)
    restaurant.loop.run("decide_retraining", USE_CASE, "use_case", NIGHT)
    assert_equal(closed, read_night(restaurant.loop, NIGHT), "the closed night after a late file")

    for job, scope, kind in (
        ("land_source", "visits", "source"),
        ("clean_source", "visits", "source"),
        ("build_features", USE_CASE, "use_case"),
    ):
        code, said = restaurant.attempt(job, scope, NIGHT, kind, variant="restated")
        assert code == 0, said[-3000:]
    features = restaurant.features()
    restated = set(features[features["variant"] == "restated"]["visit_id"])
    main = set(features[features["variant"] == "main"]["visit_id"])
    assert restated - main == {"LATE"}
    assert main <= restated
    assert set(features["night"]) == {format_night(NIGHT)}
