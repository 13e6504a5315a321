"""A champion that changes while a night is scored: the whole night is scored by the one that it began with."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame

from jobs import score_batch
from nightloop.dataset import DatasetRef
from nightloop.scoring.frame import score_frame
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import ModelRow
from nightloop.stores.registry.model_files import digest_of
from nightloop.training.candidate import fit_candidate
from nightloop.training.dataset import prepare_rows
from nightloop.training.params import Recipe, TrainingParams
from nightloop.training.plan import PlannedCandidate
from tests.faults.restaurant import NIGHTS, USE_CASE, Restaurant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]
NIGHT = NIGHTS[0]


def fit_model(folder: Path, euros_a_guest: float) -> bytes:
    """Fit a line through visits that pay so much per guest."""
    random = np.random.default_rng(0)
    guests = random.integers(1, 9, 200).astype(float)
    table = pa.table(
        {
            "cohort": ["20250101T0200Z"] * 100 + ["20250102T0200Z"] * 100,
            "decision_time": pa.array([NIGHT] * 200, pa.timestamp("us", "UTC")),
            "guests": guests,
            "hour_of_day": random.integers(0, 24, 200).astype(float),
            "discount": random.random(200),
            "place": ["bar"] * 200,
            "label": guests * euros_a_guest,
        }
    )
    recipe = Recipe(family="linear")
    planned = PlannedCandidate("linear", recipe, ("guests", "hour_of_day", "discount"), ("place",), "v1")
    training = TrainingParams(window_days=9, judging_days=1, candidates=(recipe,))
    return fit_candidate(prepare_rows(table, NIGHT, 0.2), planned, folder, "regression", training).model


def register(restaurant: Restaurant, ledger: Ledger, features: DatasetRef, euros_a_guest: float) -> int:
    """Register a model that reads the features that were built."""
    path = restaurant.loop.home / f"{euros_a_guest}.onnx"
    path.write_bytes(fit_model(restaurant.loop.home / "fit", euros_a_guest))
    columns = {"numeric": ["guests", "hour_of_day", "discount"], "categorical": ["place"]}
    recipe = {**Recipe(family="linear").model_dump(), **columns}
    digest = digest_of(path.read_bytes())
    row = ModelRow(USE_CASE, 0, digest, str(path), recipe, features.version, NIGHT - timedelta(days=1), {}, {})
    return ledger.register_model(row)


def test_a_champion_that_changes_while_a_night_is_scored_scores_none_of_it(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    restaurant.land_nights(NIGHTS[:2])
    for night in NIGHTS[:2]:
        restaurant.loop.ingest(night)
        restaurant.loop.run("build_features", USE_CASE, "use_case", night)
    (table,) = Path(restaurant.loop.settings.lake, "features", USE_CASE).iterdir()
    features = DatasetRef("features", USE_CASE, table.name)
    with closing(Ledger.open(restaurant.loop.settings.ledger_url)) as ledger:
        first, second = (register(restaurant, ledger, features, euros) for euros in (10.0, 20.0))
        ledger.change_champion(USE_CASE, first, NIGHT - timedelta(days=1), "ann", "the first")

        def move_and_score(frame: DataFrame, *arguments: object, **options: object) -> DataFrame:
            ledger.change_champion(USE_CASE, second, NIGHT - timedelta(hours=1), "ben", "in the midst of a night")
            return score_frame(frame, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(score_batch, "score_frame", move_and_score)
        code, said = restaurant.attempt("score_batch", USE_CASE, NIGHT, "use_case")
        assert code == 0, said[-3000:]
        monkeypatch.undo()
        code, said = restaurant.attempt("score_batch", USE_CASE, NIGHTS[1], "use_case")
        assert code == 0, said[-3000:]
    scores = restaurant.loop.rows(DatasetRef("scores", USE_CASE))
    guests = restaurant.features().set_index("row_id")["guests"]
    by_night = dict(list(scores.groupby("night")))
    for part, version, euros in zip(by_night.values(), (first, second), (10.0, 20.0), strict=True):
        assert set(part["model_version"]) == {version}
        np.testing.assert_allclose(part["score"], guests[part["row_id"]] * euros, rtol=0.05)
