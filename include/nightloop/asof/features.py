"""Features of a spine: features.sql over views in which the future does not exist."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nightloop.asof.direct import carry_columns, join_versions
from nightloop.asof.spine import SpineFigures
from nightloop.asof.views import run_sql
from nightloop.asof.visible import AsofSource, Bounds, Cutoff, clean_columns, meets, scope_source, select_versions
from nightloop.fault import Fault, NightloopError
from nightloop.run import parse_night


def build_features(
    spine: DataFrame,
    figures: SpineFigures,
    sources: Mapping[str, AsofSource],
    sql: str,
    numeric: Sequence[str],
    categorical: Sequence[str],
    entity: Sequence[str],
) -> DataFrame:
    """Return the staged spine's columns and its features, one row per spine row, with `night` and `variant` last.

    features.sql sees `spine` and, of each source, the records that meet a row as that row's decision knew them, with
    its `row_id`. Numeric features come back as DOUBLE, categorical ones as STRING; a row that the query leaves out has
    null features; a feature named like a spine column takes its place.

    Raises:
        NightloopError: the query is wrong, or lacks a declared feature.
    """
    declared = (*numeric, *categorical)
    # prefixed, as the query may return columns of the same names
    own = {f"_spine_{name}": name for name in spine.columns if name not in {"night", "variant", *declared}}
    own |= {"_spine_night": "_night", "_spine_variant": "_variant"}
    query, views = _plan(spine, figures, sources, sql)
    carrying = carry_columns(query, own)
    built = run_sql(carrying or query, views, "features.sql")
    _check_columns([name for name in built.columns if name not in own], declared, entity)
    features = [
        *(F.col(name).cast("double").alias(name) for name in numeric),
        *(F.col(name).cast("string").alias(name) for name in categorical),
    ]
    if carrying is None:
        rows = views["spine"].select("row_id", *(F.col(column).alias(name) for name, column in own.items()))
        built = rows.join(built.select("row_id", *features), "row_id", "left")
        features = [F.col(name) for name in declared]
    *carried, night, variant = own
    return built.select(
        *(F.col(name).alias(own[name]) for name in carried),
        *features,
        F.col(night).alias("night"),
        F.col(variant).alias("variant"),
    )


def _check_columns(found: Sequence[str], declared: Sequence[str], entity: Sequence[str]) -> None:
    missing = [name for name in ("row_id", *declared) if name not in found]
    clash = [name for name in declared if name in {"row_id", "decision_time", "night", "variant", *entity}]
    if missing or clash:
        raise NightloopError(
            Fault(
                "columns of features.sql",
                ", ".join(("row_id", *declared)),
                ", ".join(found),
                f"select {', '.join(missing)}" if missing else f"rename {', '.join(clash)}: they name the row",
            )
        )


def _plan(
    spine: DataFrame, figures: SpineFigures, sources: Mapping[str, AsofSource], sql: str
) -> tuple[str, dict[str, DataFrame]]:
    """Return the query as it is run, and its views.

    Of a source that the query joins to the spine by row alone that is the view of the versions, else that of the
    records that meet a row.
    """
    nights, cutoff = [parse_night(night) for night in sorted(figures.rows)], figures.cutoff
    first, last = figures.first_decision or nights[0], figures.last_decision or nights[-1]
    bounds = Bounds("decision_time", "_night", "decision_time", first, max(last, nights[-1]))
    conditions = {name: partial(meets, each.view, bounds, each.view.join, cutoff) for name, each in sources.items()}
    query, direct = join_versions(sql, conditions)
    rows = spine.withColumnsRenamed({"night": "_night", "variant": "_variant"})
    views = {
        name: select_versions(source, bounds, cutoff) if name in direct else _scope(source, rows, bounds, cutoff)
        for name, source in sources.items()
    }
    return query, {"spine": rows, **views}


def _scope(source: AsofSource, rows: DataFrame, bounds: Bounds, cutoff: Cutoff | None) -> DataFrame:
    """Return the view of a source: `row_id` and the clean columns, which may be named like the spine's."""
    keys = {right: f"_key_{right}" for right in source.view.join.values()}
    marked = [F.col(right).alias(key) for right, key in keys.items()]
    needed = rows.select("row_id", F.col("decision_time").alias("_decided"), "_night", *marked)
    join = {left: keys[right] for left, right in source.view.join.items()}
    met = scope_source(source, needed, replace(bounds, known="_decided", since="_decided"), join, cutoff)
    return met.select("row_id", *clean_columns(source.rows))
