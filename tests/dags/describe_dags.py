"""Parse every DAG in a process of its own and print what came of it as JSON; run by the tests of this folder."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import airflow.sdk  # noqa: F401 - imported first, so that the parse is timed without it
from airflow.dag_processing.dagbag import DagBag

FORBIDDEN = ("pyspark", "torch", "great_expectations", "evidently", "mlflow", "sklearn", "pandas", "jobs")


def describe_task(task: Any) -> dict[str, Any]:
    partial = getattr(task, "partial_kwargs", {})
    timeout = task.timeout if hasattr(task, "timeout") else partial.get("execution_timeout", task.execution_timeout)
    return {
        "operator": task.task_type + (" (mapped)" if partial else ""),
        "upstream": sorted(task.upstream_task_ids),
        "trigger_rule": str(task.trigger_rule.value),
        "outlets": [outlet.uri for outlet in task.outlets],
        "owner": task.owner,
        "retries": task.retries,
        "has_timeout": timeout is not None,
        "has_doc": bool(task.doc_md),
    }


def describe_dag(dag: Any) -> dict[str, Any]:
    return {
        "file": Path(dag.fileloc).stem,
        "title": dag.dag_display_name,
        "description": dag.description,
        "doc": dag.doc_md,
        "tags": sorted(dag.tags),
        "timetable": type(dag.timetable).__name__,
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "has_timeout": dag.dagrun_timeout is not None,
        "start_date": str(dag.start_date),
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "tasks": {task.task_id: describe_task(task) for task in dag.tasks},
    }


def main(folder: str) -> None:
    before = set(sys.modules)
    begun = time.perf_counter()
    bag = DagBag(folder)
    seconds = time.perf_counter() - begun
    found = {
        "seconds": seconds,
        "forbidden": [name for name in FORBIDDEN if name in sys.modules],
        "imported": len(set(sys.modules) - before),
        "import_errors": {Path(file).stem: error for file, error in bag.import_errors.items()},
        "dags": {dag_id: describe_dag(dag) for dag_id, dag in bag.dags.items()},
    }
    Path(sys.argv[2]).write_text(json.dumps(found, default=str))


if __name__ == "__main__":
    main(sys.argv[1])
