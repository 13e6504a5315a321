"""Features of a spine: features.sql over views in which the future does not exist."""

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nightloop.asof.spine import SpineFigures
from nightloop.asof.views import run_sql
from nightloop.asof.visible import AsofSource, Bounds, clean_columns, scope_source
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
    views = {"spine": spine.drop("night", "variant"), **scope_sources(spine, figures, sources)}
    built = run_sql(sql, views, "features.sql")
    declared = (*numeric, *categorical)
    missing = [name for name in ("row_id", *declared) if name not in built.columns]
    clash = [name for name in declared if name in {"row_id", "decision_time", "night", "variant", *entity}]
    if missing or clash:
        raise NightloopError(
            Fault(
                "columns of features.sql",
                ", ".join(("row_id", *declared)),
                ", ".join(built.columns),
                f"select {', '.join(missing)}" if missing else f"rename {', '.join(clash)}: they name the row",
            )
        )
    typed = built.select(
        "row_id",
        *(F.col(name).cast("double").alias(name) for name in numeric),
        *(F.col(name).cast("string").alias(name) for name in categorical),
    )
    own = [name for name in spine.columns if name not in {"night", "variant", *declared}]
    return spine.drop(*declared).join(typed, "row_id", "left").select(*own, *declared, "night", "variant")


def scope_sources(spine: DataFrame, figures: SpineFigures, sources: Mapping[str, AsofSource]) -> dict[str, DataFrame]:
    """Return the scoped view of every source: `row_id` and the clean columns."""
    nights = [parse_night(night) for night in sorted(figures.rows)]
    first, last = figures.first_decision or nights[0], figures.last_decision or nights[-1]
    bounds = Bounds("_decided", "_night", "_decided", first, max(last, nights[-1]))
    decided, night = F.col("decision_time").alias("_decided"), F.col("night").alias("_night")
    scoped = {}
    for name, source in sources.items():
        keys = {right: f"_key_{right}" for right in source.view.join.values()}
        marked = [F.col(right).alias(key) for right, key in keys.items()]
        needed = spine.select("row_id", decided, night, *marked)
        join = {left: keys[right] for left, right in source.view.join.items()}
        rows = scope_source(source, needed, bounds, join, figures.cutoff)
        scoped[name] = rows.select("row_id", *clean_columns(source.rows))
    return scoped
