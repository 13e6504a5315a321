"""Real models at the gate: worse and equal ones are refused, each with its reason; better ones and refreshes pass."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nightloop.artifact import score_table
from nightloop.evaluation.bootstrap import JudgedRows
from nightloop.evaluation.checks import Contender
from nightloop.evaluation.gate import Opponent, judge_gate
from nightloop.evaluation.params import PromotionParams
from nightloop.training.candidate import fit_candidate
from nightloop.training.dataset import prepare_rows
from nightloop.training.params import Recipe, TrainingParams
from nightloop.training.plan import PlannedCandidate
from nightloop.verdict import Verdict
from tests.unit.training.conftest import CATEGORICAL, CUT, NUMERIC, make_features

KNOWN, JUDGED = make_features(4000), make_features(6000, seed=9)
LABELS = JUDGED.column("binary").to_numpy()
ROWS = JudgedRows(LABELS, JUDGED.column("cohort").to_numpy(), JUDGED.column("row_id").to_numpy())
PARAMS = PromotionParams(metric="roc_auc", refresh_margin=0.01, floors={"roc_auc": 0.6})


def score(work: Path, family: str, *, numeric: tuple[str, ...] = NUMERIC, shuffled: bool = False) -> np.ndarray:
    """Fit a recipe and return its scores of the judged rows."""
    recipe = Recipe(family=family)
    planned = PlannedCandidate(family, recipe, numeric, CATEGORICAL, "v1")
    labels = KNOWN.column("binary").to_numpy()
    labels = np.random.default_rng(1).permutation(labels) if shuffled else labels
    rows = prepare_rows(KNOWN.append_column("label", pa.array(labels)), CUT, 0.2)
    training = TrainingParams(window_days=60, judging_days=10, candidates=(recipe,), ranks=1)
    return score_table(fit_candidate(rows, planned, work, "binary", training).model, JUDGED)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return score(tmp_path_factory.mktemp("champion"), "linear", numeric=("age", "distance"))


def judge(champion: np.ndarray, challenger: np.ndarray) -> Verdict:
    contenders = [Contender("champion", 0.7, champion, is_champion=True), Contender("challenger", 0.8, challenger)]
    return judge_gate("use_case", contenders, ROWS, Opponent((float(LABELS.mean()),), champion), PARAMS)


def test_a_challenger_that_knows_more_is_promoted(champion: np.ndarray, tmp_path: Path) -> None:
    verdict = judge(champion, score(tmp_path, "linear"))
    assert (verdict.answer, verdict.facts["winner"], verdict.facts["kind"]) == ("promote", "challenger", "change")


def test_a_challenger_of_shuffled_labels_is_refused(champion: np.ndarray, tmp_path: Path) -> None:
    verdict = judge(champion, score(tmp_path, "gradient_boosting", shuffled=True))
    assert (verdict.answer, verdict.facts["winner"], verdict.facts["kind"]) == ("promote", "champion", "refresh")
    told = [check.name for check in verdict.checks if check.outcome == "warn"]
    assert {"challenger: superiority", "challenger: beats baseline", "challenger: floor roc_auc"} <= set(told)


def test_an_equal_change_is_refused_and_the_equal_refresh_passes(champion: np.ndarray, tmp_path: Path) -> None:
    equal = score(tmp_path, "gradient_boosting", numeric=("age", "distance"))
    verdict = judge(champion, equal)
    assert (verdict.answer, verdict.facts["winner"], verdict.facts["kind"]) == ("promote", "champion", "refresh")
    assert "challenger is refused: superiority" in verdict.reason
