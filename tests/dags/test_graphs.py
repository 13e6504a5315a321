"""The graph of each DAG family: a golden file, so that a change is a diff, and the orders that must never break.

`NIGHTLOOP_WRITE_GOLDEN=1 pytest tests/dags` writes the golden files anew.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

GOLDEN = Path(__file__).parent / "golden"
DAG_IDS = [
    "source_bookings",
    "nightly_delay",
    "retrain_delay",
    "bootstrap_delay",
    "operations_lake_upkeep",
    "operations_readmit_rows",
    "operations_rollback_champion",
    "operations_erase_subjects",
]
SHOWN = ("operator", "upstream", "trigger_rule", "outlets")


def show_graph(dag: dict[str, Any]) -> str:
    tasks = {name: {key: task[key] for key in SHOWN if task[key]} for name, task in sorted(dag["tasks"].items())}
    return yaml.safe_dump({"timetable": dag["timetable"], "tasks": tasks}, sort_keys=False)


def upstream_of(task: str, dag: dict[str, Any]) -> set[str]:
    direct = set(dag["tasks"][task]["upstream"])
    return direct.union(*(upstream_of(other, dag) for other in direct))


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_graph_is_the_golden_one(dag_id: str, dags: dict[str, Any]) -> None:
    file = GOLDEN / f"{dag_id}.yaml"
    graph = show_graph(dags[dag_id])
    if os.environ.get("NIGHTLOOP_WRITE_GOLDEN"):
        file.write_text(graph)
    assert graph == file.read_text()


@pytest.mark.parametrize(
    ("dag_id", "earlier", "later"),
    [
        pytest.param("source_bookings", "land_source", "clean_source", id="land before clean"),
        pytest.param("nightly_delay", "wait_for_sources", "build_features", id="sources close before features"),
        pytest.param("nightly_delay", "score_batch", "load_scores", id="the lake before the warehouse"),
        pytest.param("nightly_delay", "measure_outcomes", "decide_retraining", id="measured before decided"),
        pytest.param("nightly_delay", "profile_partition", "decide_retraining", id="profiled before decided"),
        pytest.param("nightly_delay", "decide_retraining", "request_retraining", id="decided before requested"),
        pytest.param("nightly_delay", "load_scores", "prove_asof", id="published before proven"),
        pytest.param("retrain_delay", "build_features", "check_leakage", id="refilled before checked for leakage"),
        pytest.param("retrain_delay", "check_leakage", "train_candidate", id="checked for leakage before trained"),
        pytest.param("bootstrap_delay", "check_leakage", "train_candidate", id="the first training is checked too"),
        pytest.param("retrain_delay", "judge_candidates", "refit_recipe", id="judged before refitted"),
        pytest.param("retrain_delay", "refit_recipe", "promote_model", id="refitted before promoted"),
        pytest.param("bootstrap_delay", "weather.clean_source", "build_features", id="every source before features"),
        pytest.param("bootstrap_delay", "decide_retraining", "plan_retraining", id="the past before the first model"),
        pytest.param("bootstrap_delay", "judge_candidates", "promote_model", id="the first model is judged too"),
    ],
)
def test_order_that_must_never_break(dag_id: str, earlier: str, later: str, dags: dict[str, Any]) -> None:
    assert earlier in upstream_of(later, dags[dag_id])


def test_only_the_request_is_skipped_on_quiet_nights(dags: dict[str, Any]) -> None:
    tasks = dags["nightly_delay"]["tasks"]

    assert [name for name, task in tasks.items() if "request_retraining" in task["upstream"]] == []
    assert tasks["request_retraining"]["outlets"] == ["nightloop://retraining_request/delay"]
    assert [name for name, task in tasks.items() if task["outlets"]] == ["request_retraining"]


def test_nothing_waits_for_the_proof(dags: dict[str, Any]) -> None:
    """As a leaf it holds nothing back, and yet its failure is the run's."""
    tasks = dags["nightly_delay"]["tasks"]

    assert [name for name, task in tasks.items() if "prove_asof" in task["upstream"]] == []


def test_promotion_runs_though_the_refit_is_skipped(dags: dict[str, Any]) -> None:
    for dag_id in ("retrain_delay", "bootstrap_delay"):
        promote = dags[dag_id]["tasks"]["promote_model"]
        assert promote["trigger_rule"] == "none_failed_min_one_success"
        assert promote["upstream"] == ["judge_candidates", "refit_recipe"]
