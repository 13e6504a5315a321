"""Gathers what a model card tells of a refitted version: its judged twin's rows and scores, the verdict, the pins."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from nightloop.artifact import score_table
from nightloop.code_version import code_version
from nightloop.evaluation.bootstrap import JudgedRows
from nightloop.evaluation.checks import Contender, share_left
from nightloop.evaluation.disturbance import WITHOUT
from nightloop.evaluation.metrics import Floats, compute_metric, row_losses, score_without_features
from nightloop.evaluation.params import Metric
from nightloop.evaluation.scorecard import count_decisions, mask_groups, measure_model
from nightloop.evaluation.weak_spots import find_weak_spots
from nightloop.folders.use_case import UseCase
from nightloop.loop.retraining.judging import judged_rows, score_disturbed
from nightloop.loop.retraining.outcome import GATE, REFIT
from nightloop.model_card.card import Card, Importance, SliceLine
from nightloop.model_card.plots import draw_plots
from nightloop.stores.ledger.rows import ModelRow
from nightloop.training.plan import PlannedCandidate
from nightloop.verdict import Verdict


def describe_version(
    use_case: UseCase, model: ModelRow, planned: PlannedCandidate, verdicts: Mapping[str, Verdict], twin: bytes,
    rows: pa.Table, baseline: tuple[float, ...],
) -> Card:  # fmt: skip
    """Return the card of a registered version.

    `verdicts` are the gate's and the refit's; `rows` the judged rows with label and features, `twin` the artifact that
    was judged on them, `baseline` what a model without features says.
    """
    gate, refit = verdicts[GATE], verdicts[REFIT]
    judged, metric = judged_rows(rows, use_case), use_case.promotion.metric
    disturbed = score_disturbed(twin, rows, planned)
    contender = Contender(planned.name, 0.0, score_table(twin, rows), disturbed=disturbed)
    without_features = score_without_features(rows.num_rows, baseline)
    threshold, costs = use_case.scoring.decision_threshold, use_case.scoring.costs
    asked = None if costs is None else (costs.false_positive, costs.false_negative)
    left = share_left(contender, judged, without_features, metric)
    importance = [
        Importance(name.removeprefix(WITHOUT), 1 - share) for name, share in left.items() if name.startswith(WITHOUT)
    ]
    is_binary = use_case.task == "binary"
    return Card(
        title=f"{use_case.name}, version {model.version}",
        summary=use_case.description,
        verdict=f"{gate.reason}; {refit.reason}",
        identity=_identify(use_case, model, planned),
        data=_describe_data(model, rows),
        figures=measure_model(judged, contender.scores, without_features, use_case.task, threshold, asked),
        checks=(*gate.checks, *refit.checks),
        metric=metric,
        lineage=_trace(use_case, model),
        slices=[
            *_list_slices(judged, contender.scores, metric),
            *_find_slices(judged, contender.scores, rows, planned, use_case),
        ],
        importance=sorted(importance, key=lambda one: -one.lost),
        plots=draw_plots(judged.labels, contender.scores, use_case.task),
        limits=list(_list_limits(use_case, model, gate, rows)),
        confusion=count_decisions(judged.labels, contender.scores, threshold) if is_binary else None,
    )


def _identify(use_case: UseCase, model: ModelRow, planned: PlannedCandidate) -> dict[str, str]:
    params = ", ".join(f"{name} {value}" for name, value in planned.recipe.params.items())
    choices = ", ".join(f"{name} {value:.4g}" for name, value in model.pins.get("choices", {}).items())
    return {
        "owner": use_case.owner,
        "task": use_case.task,
        "family": planned.recipe.family,
        "parameters": params or "the family's defaults",
        "chosen": choices or "nothing",
        "numeric columns": ", ".join(planned.numeric),
        "categorical columns": ", ".join(planned.categorical),
        "SHA-256 of the artifact": model.digest,
    }


def _describe_data(model: ModelRow, rows: pa.Table) -> dict[str, str]:
    decided = rows.column("decision_time")
    return {
        "knows what was known as of": model.as_of.isoformat(),
        "trained on decisions": f"{model.pins['spine_from']} to {model.pins['spine_to']}",
        "rows trained on": f"{model.pins['rows']:,}",
        "content of the training rows": str(model.pins["content"]),
        "judged on decisions": f"{decided[0].as_py().isoformat()} to {decided[-1].as_py().isoformat()}",
        "rows judged": f"{rows.num_rows:,}",
    }


def _trace(use_case: UseCase, model: ModelRow) -> dict[str, str]:
    return {
        "sources": ", ".join(use_case.sources),
        "feature version": model.feature_version,
        "artifact": model.uri,
        "code": code_version(),
        "one prediction": f"nightloop trace {use_case.name} ROW_ID",
    }


def _list_slices(judged: JudgedRows, scores: Floats, metric: Metric) -> Iterator[SliceLine]:
    for attribute, group, mask in mask_groups(judged):
        yield _describe_slice(attribute, group, judged.labels[mask], scores[mask], metric)


def _find_slices(
    judged: JudgedRows, scores: Floats, rows: pa.Table, planned: PlannedCandidate, use_case: UseCase
) -> Iterator[SliceLine]:
    numbers = {name: rows.column(name).cast(pa.float64()).to_numpy() for name in planned.numeric}
    texts = {name: rows.column(name).cast(pa.string()).fill_null("").to_numpy() for name in planned.categorical}
    losses = row_losses(judged.labels, scores, use_case.task)
    for spot in find_weak_spots(numbers | texts, losses, judged.entities):
        labels, metric = judged.labels[spot.rows], use_case.promotion.metric
        yield _describe_slice("found: errs most", spot.condition, labels, scores[spot.rows], metric)


def _describe_slice(attribute: str, group: str, labels: Floats, scores: Floats, metric: Metric) -> SliceLine:
    told = scores if scores.ndim == 1 else scores @ np.arange(scores.shape[1])
    figure = compute_metric(metric, labels, scores)
    return SliceLine(attribute, group, len(labels), float(labels.mean()), float(told.mean()), figure)


def _list_limits(use_case: UseCase, model: ModelRow, gate: Verdict, rows: pa.Table) -> Iterator[str]:
    decided = rows.column("decision_time")
    span = f"{decided[0].as_py():%Y-%m-%d} to {decided[-1].as_py():%Y-%m-%d}"
    yield f"The figures speak for {rows.num_rows:,} decisions of {span}; drift reports tell what has changed since."
    yield "They are of the judged twin; the version itself knows the judged rows, and was only compared with the twin."
    if use_case.label.observed_when:
        yield f"Outcomes are known only where {use_case.label.observed_when}; of other rows nothing is known."
    if model.pins.get("nights_without_features"):
        yield f"{model.pins['nights_without_features']} nights of the window have no features and were left out."
    if not use_case.promotion.fairness:
        yield "No fairness limit is declared for this use case."
    yield from (f"{line.name}: {line.detail}" for line in gate.checks if line.outcome == "warn" and line.detail)
