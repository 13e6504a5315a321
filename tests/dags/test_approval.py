"""With `approval: human` a person stands between the refit and the promotion, and the answer reaches the job."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
from jinja2 import Environment

from nightloop_airflow.tasks import APPROVAL_OPTIONS
from tests.dags.conftest import FOLDERS
from tests.dags.test_graphs import upstream_of


@pytest.fixture(scope="module")
def asked(parse: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The DAGs of the small use case, which asks a person."""
    copied = tmp_path_factory.mktemp("asked") / "folders"
    shutil.copytree(FOLDERS, copied)
    (yaml,) = copied.glob("use_cases/*/use_case.yaml")
    yaml.write_text(yaml.read_text().replace("promotion: {", "promotion: {approval: human, "))
    found: dict[str, Any] = parse(copied)["dags"]
    return found


@pytest.mark.parametrize("dag_id", ["retrain_delay", "bootstrap_delay"])
def test_a_person_is_asked_after_the_refit_and_before_the_promotion(dag_id: str, asked: dict[str, Any]) -> None:
    tasks = asked[dag_id]["tasks"]
    assert tasks["approve_model"]["operator"] == "ApprovalOperator"
    assert tasks["approve_model"]["upstream"] == ["refit_recipe"]
    assert "approve_model" in upstream_of("promote_model", asked[dag_id])


def test_a_rejection_skips_a_marker_and_not_the_promotion_that_records_it(asked: dict[str, Any]) -> None:
    tasks = asked["retrain_delay"]["tasks"]
    assert [name for name, task in tasks.items() if "approve_model" in task["upstream"]] == ["model_approved"]
    assert tasks["promote_model"]["upstream"] == ["judge_candidates", "model_approved", "refit_recipe"]
    assert tasks["promote_model"]["trigger_rule"] == "none_failed_min_one_success"


def test_nobody_is_asked_by_default(dags: dict[str, Any]) -> None:
    assert "approve_model" not in dags["retrain_delay"]["tasks"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(
            {"chosen_options": ["Approve"], "responded_by_user": {"id": "1", "name": "ann"}},
            ("Approve", "ann"),
            id="yes",
        ),
        pytest.param({"chosen_options": ["Reject"], "responded_by_user": None}, ("Reject", ""), id="nobody in time"),
        pytest.param(None, ("", ""), id="not asked"),
    ],
)
def test_the_answer_becomes_options_of_the_job(answer: dict[str, Any] | None, told: tuple[str, str]) -> None:
    class Instance:
        def xcom_pull(self, task_ids: str) -> dict[str, Any] | None:
            assert task_ids == "approve_model"
            return answer

    render = Environment(autoescape=False).from_string  # noqa: S701 - as Airflow renders options
    found = {name: render(text).render(ti=Instance()) for name, text in APPROVAL_OPTIONS.items()}
    assert (found["approval"], found["approved_by"]) == told
