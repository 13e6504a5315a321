"""Scores made inside Spark are the model's own, at bounded memory."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyspark.sql.types import DataType, DoubleType, LongType, StringType, StructField, StructType

from nightloop.artifact import score_table
from nightloop.fault import NightloopError
from nightloop.scoring.frame import assert_signature, score_frame
from nightloop.scoring.params import ScoringParams
from nightloop.training.candidate import fit_candidate
from nightloop.training.params import Recipe, Task, TrainingParams
from tests.unit.training.conftest import CATEGORICAL, NUMERIC, make_features, make_rows, plan

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def make_model(task: Task, work: Path) -> bytes:
    recipe = Recipe(family="linear")
    training = TrainingParams(window_days=60, judging_days=10, candidates=(recipe,))
    return fit_candidate(make_rows(task), plan(recipe), work, task, training).model


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_spark_scores_as_the_model_does(task: Task, spark: "SparkSession", tmp_path: Path) -> None:
    model, rows = make_model(task, tmp_path), make_features(1000, seed=5)
    frame = spark.createDataFrame(rows).repartition(3)
    params = ScoringParams(threshold=0.4, batch_rows=100)
    scored = score_frame(frame, model, (*NUMERIC, *CATEGORICAL), ("row_id",), params, is_binary=task == "binary")
    assert scored.columns == ["row_id", "score", "decision"]
    found = scored.toPandas().sort_values("row_id")
    expected = score_table(model, rows)
    np.testing.assert_allclose(found.score, expected.max(axis=1) if task == "multiclass" else expected, atol=1e-6)
    if task == "regression":
        assert found.decision.isna().all()
    else:
        decided = expected.argmax(axis=1) if task == "multiclass" else expected >= 0.4
        assert (found.decision == decided).all()


def test_a_table_in_memory_is_scored_with_its_missing_values(tmp_path: Path) -> None:
    scores = score_table(make_model("binary", tmp_path), make_features(500, seed=6))
    assert scores.shape == (500,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("change", "expected", "found"),
    [
        ({NUMERIC[0]: None}, "a number", "no such column"),
        ({CATEGORICAL[0]: None}, "text", "no such column"),
        ({NUMERIC[0]: StringType()}, "a number", "string"),
        ({CATEGORICAL[0]: DoubleType()}, "text", "double"),
        ({"late_fee": DoubleType()}, "nothing: the model does not read it", "double"),
    ],
    ids=["missing number", "missing text", "number as text", "text as number", "one more"],
)
def test_features_that_differ_from_the_models_inputs_are_refused_by_name(
    change: dict[str, DataType | None], expected: str, found: str, tmp_path: Path
) -> None:
    model = make_model("binary", tmp_path)
    types: dict[str, DataType | None] = {
        **dict.fromkeys(NUMERIC, DoubleType()),
        **dict.fromkeys(CATEGORICAL, StringType()),
    }
    (name,) = change
    schema = StructType([StructField(one, kind) for one, kind in {**types, **change}.items() if kind is not None])
    with pytest.raises(NightloopError) as refusal:
        assert_signature(model, [*types, *(set(change) - set(types))], schema)
    (fault,) = refusal.value.faults
    assert (fault.where, fault.expected, fault.found) == (f"feature {name}", expected, found)


def test_features_in_another_order_and_of_another_width_are_the_same_features(tmp_path: Path) -> None:
    columns = [*reversed(CATEGORICAL), *reversed(NUMERIC)]
    fields = [StructField(one, LongType() if one in NUMERIC else StringType()) for one in columns]
    assert_signature(make_model("binary", tmp_path), columns, StructType(fields))
