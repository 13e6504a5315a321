"""The certificate of an erasure: what was touched, and which models learned from the subject. It names nobody."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from nightloop.erasure.erase import Erasure
from nightloop.erasure.request import Request
from nightloop.privacy.keyed import hash_text
from nightloop.run import parse_instant, parse_night
from nightloop.stores.database.columns import read_wall_clock


def describe_request(request: Request, certificate_key: bytes, as_of: datetime, actor: str, why: str) -> dict[str, Any]:
    """Return the heading of a certificate; each identifier stands as its keyed hash."""
    values = sorted(set().union(*request.columns.values()))
    return {
        "request": request.name,
        "source": request.source,
        "columns": sorted(request.columns),
        "subjects": request.subjects,
        "subject_hashes": sorted(hash_text(value, certificate_key) for value in values),
        "as_of": as_of.isoformat(),
        "actor": actor,
        "why": why,
    }


def write_certificate(erasure: Erasure) -> str:
    """Return the certificate as JSON, from the journal of a finished erasure."""
    results = erasure.journal.results
    document = {
        **results["request"],
        "erased_wall": read_wall_clock().isoformat(),
        "tables": [_describe_table(path, results, erasure) for path in _tables(results)],
        "landed": {name: results[f"landed/{name}"] for name in erasure.found["landed"]},
        "stages": results["stages"],
        "warehouse": {
            name: {table: sum(keys.values()) for table, keys in tables.items()}
            for name, tables in erasure.found["warehouse"].items()
        },
        "texts": {store: results[f"texts/{store}"] for store in ("ledger", "warehouse")},
        "reports": results["reports"],
        "work": results["work"],
        "files": results["swept"],
        "models": results["models"],
    }
    return json.dumps(document, indent=1)


def list_models(erasure: Erasure) -> list[dict[str, Any]]:
    """Return every model, and every training that was logged, whose training rows held an outcome of the subject."""
    held: list[dict[str, Any]] = []
    for name in erasure.use_cases:
        labels = [
            (parse_instant(t), parse_night(night)) for owner, t, night in erasure.found["labels"] if owner == name
        ]
        if not labels:
            continue
        for model in erasure.stores.ledger.models(name):
            if rows := _count_held(model.pins, labels):
                about = {"use_case": name, "version": model.version, "digest": model.digest, "uri": model.uri}
                held.append({**about, "as_of": model.as_of.isoformat(), "rows": rows})
        for run_id, training, params in erasure.stores.registry.trainings(name):
            if rows := _count_held(params, labels):
                held.append({"use_case": name, "mlflow_run": run_id, "training": training, "rows": rows})
    return held


def _count_held(pins: Mapping[str, Any], labels: Iterable[tuple[datetime, datetime]]) -> int:
    if not (pins.get("spine_from") and pins.get("spine_to") and pins.get("as_of")):
        return 0
    first, last, cut = (parse_instant(str(pins[name])) for name in ("spine_from", "spine_to", "as_of"))
    return sum(first <= decided <= last and matured <= cut for decided, matured in labels)


def _tables(results: Mapping[str, Any]) -> list[str]:
    steps = [step for step in results if step.startswith("lake/") and step.endswith("/removed")]
    return sorted(step.removeprefix("lake/").removesuffix("/removed") for step in steps)


def _describe_table(path: str, results: Mapping[str, Any], erasure: Erasure) -> dict[str, Any]:
    # an erasure that began anew, since a run wrote the subject again, has removed files more than once
    history, earlier = results[f"lake/{path}/history"], results.get(f"lake/{path}/earlier", {})
    return {
        "table": path,
        "rows": erasure.found["live"].get(path, 0),
        "version_before": results[f"lake/{path}/before"],
        "version_after": results[f"lake/{path}/after"],
        "files_removed": [*earlier.get("files", []), *history["files"]],
        "log_entries_removed": [*earlier.get("logs", []), *history["logs"]],
    }
