"""Hold a use case's folder to its contract and to its sources: SQL, features, label, promotion, retention."""

from collections.abc import Iterator, Mapping

from nightloop.fault import Fault
from nightloop.folders.checked_folder import CheckedFolder, check_suite, unknown
from nightloop.folders.contracts import (
    Columns,
    check_features_sql,
    check_label_sql,
    check_spine_sql,
    clean_columns_of,
    feature_views,
    label_views,
    spine_views,
)
from nightloop.folders.loading import read_document
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.sql.check import check_condition, list_output

_METRICS = {
    "binary": {"roc_auc", "pr_auc", "log_loss", "brier", "accuracy"},
    "multiclass": {"log_loss", "accuracy"},
    "regression": {"rmse", "mae"},
}


def check_use_case(
    folder: CheckedFolder, use_case: UseCase, sources: Mapping[str, Source], broken: set[str]
) -> Iterator[Fault]:
    """Yield every fault of a use case whose files could be read and typed; `broken` sources are known, but not how."""
    for name in use_case.sources:
        if name not in sources and name not in broken:
            yield unknown(folder.where("sources", name), "a source", sources, name)
    clean = clean_columns_of(use_case, sources)
    yield from _check_spine(folder, use_case, clean)
    yield from _check_features(folder, use_case, clean)
    yield from _check_label(folder, use_case, clean)
    yield from _check_promotion(folder, use_case)
    yield from _check_limits(folder, use_case)
    yield from _check_allowed(folder, use_case, clean)
    yield from _check_retention(folder, use_case, sources)


def _check_spine(folder: CheckedFolder, use_case: UseCase, clean: Mapping[str, Columns]) -> Iterator[Fault]:
    yield from check_spine_sql(use_case, clean, folder.path)
    spine = list_output(use_case.spine_sql, spine_views(clean))
    # nothing can be held against columns that cannot be told; what is wrong in the query is said above
    if spine is None:
        return
    for name, source in use_case.sources.items():
        for column, to in source.join.items():
            where = folder.where("sources", name, "join", column)
            if clean.get(name) and column not in clean[name]:
                yield unknown(where, f"a column of the clean table {name}", clean[name], column)
            if to not in spine:
                yield unknown(where, "a column of spine.sql", spine, to)
    for index, column in enumerate(use_case.protected):
        if column not in spine:
            yield unknown(folder.where("protected", index), "a column of spine.sql", spine, column)


def _check_features(folder: CheckedFolder, use_case: UseCase, clean: Mapping[str, Columns]) -> Iterator[Fault]:
    yield from check_features_sql(use_case, clean, folder.path)
    output = list_output(use_case.features_sql, feature_views(use_case, clean))
    names = list(use_case.features.names)
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(folder.where("features"), "each feature once", f"`{name}` twice", "remove one")
    if not names:
        yield Fault(folder.where("features"), "at least one feature", "none", "name the columns of features.sql")
    for name in use_case.protected:
        if name in names or (output is not None and name in output):
            where = folder.where("protected", use_case.protected.index(name))
            yield Fault(where, "protected attributes in the spine only", f"`{name}` in features.sql", "remove it there")
    suite = read_document(folder.path / "suite.yaml")
    spine = list_output(use_case.spine_sql, spine_views(clean))
    known = None if output is None or spine is None else {*output, *spine}
    yield from check_suite(suite, use_case.suite, known)


def _check_label(folder: CheckedFolder, use_case: UseCase, clean: Mapping[str, Columns]) -> Iterator[Fault]:
    yield from check_label_sql(use_case, clean, folder.path)
    if use_case.label.observed_when is not None:
        output = list_output(use_case.label_sql, label_views(use_case, clean)) or ()
        yield from check_condition(use_case.label.observed_when, folder.where("label", "observed_when"), output)


def _check_promotion(folder: CheckedFolder, use_case: UseCase) -> Iterator[Fault]:
    known, expected = _METRICS[use_case.task], f"a metric of a {use_case.task} task"
    if use_case.promotion.metric not in known:
        yield unknown(folder.where("promotion", "metric"), expected, known, use_case.promotion.metric)
    for metric in use_case.promotion.floors:
        if metric not in known:
            yield unknown(folder.where("promotion", "floors", metric), expected, known, metric)
    if use_case.promotion.fairness and use_case.task != "binary":
        where, expected = folder.where("promotion", "fairness"), "a binary task, whose decisions fairness is about"
        yield Fault(where, expected, use_case.task, "remove it")
    for attribute in use_case.promotion.fairness:
        if attribute not in use_case.protected:
            where = folder.where("promotion", "fairness", attribute)
            yield unknown(where, "a protected attribute", use_case.protected, attribute)
    for name in use_case.promotion.slices:
        if name not in use_case.features.categorical:
            where = folder.where("promotion", "slices")
            yield unknown(where, "a categorical feature", use_case.features.categorical, name)


def _check_limits(folder: CheckedFolder, use_case: UseCase) -> Iterator[Fault]:
    if use_case.task != "binary" and (use_case.scoring.costs or use_case.scoring.threshold):
        yield Fault(
            folder.where("scoring"), f"no threshold and no costs for a {use_case.task} task", "one", "remove it"
        )
    names = [recipe.name for recipe in use_case.training.candidates]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(folder.where("training", "candidates"), "each recipe once", f"`{name}` twice", "remove one")
    if use_case.training.judging_days >= use_case.training.window_days:
        found = f"{use_case.training.judging_days} of {use_case.training.window_days} days"
        yield Fault(folder.where("training", "judging_days"), "less than window_days", found, "judge on less")


def _check_allowed(folder: CheckedFolder, use_case: UseCase, clean: Mapping[str, tuple[str, ...]]) -> Iterator[Fault]:
    of_sources = [f"{name}.{column}" for name, columns in clean.items() for column in columns]
    known = {*use_case.features.names, *of_sources}
    # of a clean table whose columns cannot be told, whatever is named may exist
    unreadable = tuple(f"{name}." for name, columns in clean.items() if not columns)
    for name in use_case.leakage.allowed:
        if name not in known and not name.startswith(unreadable):
            expected = "a feature, or `source.column` of a clean table"
            yield unknown(folder.where("leakage", "allowed", name), expected, use_case.features.names, name)


def _check_retention(folder: CheckedFolder, use_case: UseCase, sources: Mapping[str, Source]) -> Iterator[Fault]:
    reach, remedy = use_case.training_reach_days, "keep it longer, or shorten what reads it"
    if use_case.retention_days is not None and use_case.retention_days < reach:
        expected = f"at least {reach} days: a retraining reads its windows, the horizon and the settlement"
        yield Fault(folder.where("retention_days"), expected, str(use_case.retention_days), remedy)
    for name, days in ((name, sources[name].retention_days) for name in use_case.sources if name in sources):
        reach_of_records = use_case.record_reach_days(sources[name])
        where = folder.where("sources", name)
        if days is not None and reach_of_records is None:
            yield Fault(where, "a source kept for ever, for its lookback is unbounded", f"{days} days", remedy)
        elif days is not None and reach_of_records is not None and days < reach_of_records:
            expected = f"a source kept for at least {reach_of_records} days: its lookback before the training window"
            yield Fault(where, expected, f"{days} days", remedy)
