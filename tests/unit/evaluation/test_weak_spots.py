"""A planted group is found by its condition, and noise has none."""

import numpy as np

from nightloop.evaluation.weak_spots import find_weak_spots

ROWS = 6_000


def make_features(random: np.random.Generator) -> dict[str, np.ndarray]:
    distance = random.exponential(5, ROWS)
    distance[random.random(ROWS) < 0.05] = np.nan
    return {
        "distance": distance,
        "zone": random.choice(["north", "south", "{odd}", "rare"], ROWS, p=[0.4, 0.3, 0.295, 0.005]),
        "hour": random.integers(0, 24, ROWS),
    }


def test_a_planted_group_is_found_and_described() -> None:
    random = np.random.default_rng(1)
    features = make_features(random)
    is_weak = (features["zone"] == "{odd}") & (features["distance"] > 4)
    losses = random.exponential(1, ROWS) + 2 * is_weak
    spots = find_weak_spots(features, losses, np.arange(ROWS))
    assert len(spots) == 1
    named, bound = spots[0].condition.split(" and ")
    assert named == "zone is {odd}"
    assert abs(float(bound.removeprefix("distance > ")) - 4) < 0.3
    assert (is_weak[spots[0].rows]).mean() > 0.9
    assert losses[spots[0].rows].mean() > losses.mean() + 1


def test_what_it_is_measured_on_shares_no_entity_with_what_it_was_found_on() -> None:
    random = np.random.default_rng(2)
    features, entities = make_features(random), random.integers(0, 900, ROWS)
    losses = np.where(features["hour"] > 12, 3.0, 1.0) + random.random(ROWS)
    (spot,) = find_weak_spots(features, losses, entities)
    assert spot.condition.startswith("hour > 12")
    measured = {*entities[spot.rows]}
    others = {*entities[(features["hour"] > 12) & ~spot.rows]}
    assert measured.isdisjoint(others)


def test_noise_has_no_weak_spots() -> None:
    found = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        found += bool(find_weak_spots(make_features(random), random.exponential(1, ROWS), np.arange(ROWS)))
    assert found <= 3


def test_few_rows_have_none() -> None:
    random = np.random.default_rng(3)
    features = {name: values[:300] for name, values in make_features(random).items()}
    assert find_weak_spots(features, random.random(300), np.arange(300)) == []
    assert find_weak_spots({}, random.random(ROWS), np.arange(ROWS)) == []
