"""What holds of every DAG and every task, packaged or not."""

from typing import Any

import pytest


def all_tasks(dags: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{dag_id}.{task_id}", task) for dag_id, dag in dags.items() for task_id, task in dag["tasks"].items()]


def test_every_dag_says_what_it_is_whose_it_is_and_what_to_do_when_it_fails(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        assert dag["description"], dag_id
        assert dag["title"] != dag_id, dag_id
        assert "**Owner:**" in dag["doc"], dag_id
        assert "When it fails" in dag["doc"], dag_id


def test_every_dag_is_tagged_with_its_family(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        assert dag["tags"] == sorted(["nightloop", dag_id.split("_")[0]])


def test_no_dag_catches_up_or_overlaps_itself(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        assert not dag["catchup"], dag_id
        assert dag["max_active_runs"] == 1, dag_id
        assert dag["has_timeout"], dag_id


def test_every_task_has_an_owner_retries_and_a_timeout(dags: dict[str, Any]) -> None:
    for name, task in all_tasks(dags):
        assert task["owner"] not in {"", "airflow"}, name
        assert task["retries"] in {1, 2}, name
        assert task["has_timeout"], name


def test_every_form_entry_has_a_title_and_a_type(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        for name, param in dag["params"].items():
            assert param["title"], f"{dag_id} {name}"
            assert param["type"], f"{dag_id} {name}"


@pytest.mark.parametrize("family", ["source", "nightly", "retrain"])
def test_scheduled_families_can_be_run_for_a_night_by_hand(family: str, dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        if dag_id.startswith(f"{family}_"):
            assert set(dag["params"]) == {"as_of", "variant"}


def test_readmission_offers_the_known_sources_and_asks_for_a_reason(dags: dict[str, Any]) -> None:
    params = dags["operations_readmit_rows"]["params"]

    assert params["source"]["enum"] == sorted(
        dag_id.removeprefix("source_") for dag_id in dags if dag_id.startswith("source_")
    )
    assert params["why"]["minLength"] == 1


def test_rollback_offers_the_known_use_cases(dags: dict[str, Any]) -> None:
    offered = dags["operations_rollback_champion"]["params"]["use_case"]["enum"]

    assert offered == sorted(dag_id.removeprefix("nightly_") for dag_id in dags if dag_id.startswith("nightly_"))
