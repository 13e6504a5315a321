"""The leakage gate: every rule over the rows that a training is about to see."""

from collections.abc import Mapping, Sequence

from nightloop.fault import Fault
from nightloop.leakage.availability import EARLY, REWRITTEN
from nightloop.leakage.figure import Figure, judge_figures
from nightloop.leakage.groups import TOGETHER, measure_groups
from nightloop.leakage.levels import Floats, LabelledSample
from nightloop.leakage.overlap import ONE_OUTCOME, OPEN, SHARED, TWICE
from nightloop.leakage.params import LeakageParams, Limit
from nightloop.leakage.single import ALONE, LATER, PURE, measure_auc, measure_dates, measure_purity, measure_r2
from nightloop.leakage.sums import SUM, measure_sums
from nightloop.verdict import Check

_NONE_AT_ALL = Limit(warn=1, fail=1)
_REMEDY = "take it out of features.sql, or say in leakage.allowed of use_case.yaml why it may stay"
_REMEDIES = {
    EARLY: "correct known_at in source.yaml, or say in leakage.allowed of use_case.yaml why the date may lie ahead",
    REWRITTEN: "declare the column that says when a version became known, or use `known_at: {by: arrival}`",
    ONE_OUTCOME: "name the decision in `entity`, decide less often, or raise leakage.entity_overlap",
    SHARED: "run measure_outcomes for the judging window again; a row matures in one night",
    TWICE: "run measure_outcomes for the nights in which they matured again; a row_id stands once",
    OPEN: "run measure_outcomes again: horizon or settlement_days have changed since these labels were measured",
}


def judge_columns(sample: LabelledSample, decided: Floats, params: LeakageParams) -> list[Check]:
    """Hold each column, then each small group of the others, against the label; `decided` is in seconds since 1970."""
    allowed = params.allowed
    alone = [*measure_auc(sample), *measure_r2(sample)]
    single = params.r2 if sample.is_regression else params.auc
    checks = judge_figures(alone, single, allowed, ALONE)
    checks += judge_figures(measure_purity(sample), params.purity, allowed, PURE)
    checks += judge_figures(measure_dates(sample, decided), params.later, allowed, LATER)
    # left out of groups: whatever honest column stood beside one of them would be named with it
    known = {figure.columns[0] for figure in alone if figure.value >= single.fail} | allowed.keys()
    groups = measure_groups(sample, params.auc.fail, sorted(known))
    checks += judge_figures(groups, params.auc, allowed, TOGETHER)
    return checks + judge_figures(measure_sums(sample, sorted(known)), params.equal, allowed, SUM)


def judge_overlap(rows: Sequence[Figure], entities: Figure, params: LeakageParams) -> list[Check]:
    """Pass no single row that training and judging share; entities up to the use case's limit."""
    checks = [check for figure in rows for check in judge_figures([figure], _NONE_AT_ALL, {}, figure.rule)]
    return checks + judge_figures([entities], params.entity_overlap, {}, entities.rule)


def judge_availability(
    figures: Sequence[Figure], readers: Mapping[str, Sequence[str]], params: LeakageParams
) -> list[Check]:
    """Refuse sources whose declared knowledge is contradicted; `readers` names the features that read each source."""
    told = [
        Figure(
            one.rule,
            one.columns,
            one.value,
            f"{one.detail}; read by {', '.join(readers[one.columns[0].split('.')[0]]) or 'features.sql'}",
        )
        for one in figures
    ]
    return judge_figures(told, params.later, params.allowed, "declared knowledge")


def list_faults(checks: Sequence[Check], where: str) -> list[Fault]:
    """Return a fault for every failed check, with its figure and its limit."""
    return [
        Fault(
            f"{where}: {check.name}",
            f"less than {check.limit:.4g}",
            f"{check.figure:.4g} ({check.detail})",
            _REMEDIES.get(check.name.partition(":")[0], _REMEDY),
        )
        for check in checks
        if check.is_failed
    ]
