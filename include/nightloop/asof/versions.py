"""Which of a record's versions is the last one, at one cut-off or for every decision at once."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

_ORDER = ("known_at", "night", "_file", "_row")
_NEVER = "TIMESTAMP '9999-01-01 00:00:00'"
_FIRST_NIGHT, _NO_NIGHT = "", "9"  # before and after every name of a night
_SPAN = ("_loaded", "_until_loaded", "_next_known", "_next_loaded")


def last_versions(rows: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Return the last version of each record."""
    recent_first = Window.partitionBy(*keys).orderBy(*(F.col(name).desc() for name in _ORDER))
    return rows.withColumn("_rank", F.row_number().over(recent_first)).where(F.col("_rank") == 1).drop("_rank")


def add_spans(rows: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Add the span in which each version is the last one, as `is_last_at` reads it; `_loaded` names a night.

    A version is succeeded where a later one is both known and loaded. Mostly each is loaded no earlier than those
    before it; then the next one alone decides. One that overtook, because a record known earlier was loaded after it
    (it came late, or was repaired), succeeds several: they get one row for each set of successors loaded so far. It is
    one that was loaded before the version just ahead of it; else that one has succeeded all that it would.
    """
    record = Window.partitionBy(*keys)
    order = record.orderBy(*_ORDER)
    ordered = rows.withColumns(
        {
            "_next_known": F.lead("known_at").over(order),
            "_next_loaded": F.lead("_loaded").over(order),
            "_overtakes": F.col("_loaded") < F.lag("_loaded").over(order),
        }
    )
    place = F.struct(*_ORDER).alias("place")
    version = F.struct(place, F.col("known_at").alias("known"), F.col("_loaded").alias("loaded"))
    overtaking = F.collect_list(F.when(F.col("_overtakes"), version)).over(record)
    splits = F.when(F.size("_overtaking") > 0, _split_span())  # null, hence one row, of nearly every version
    spanned = ordered.withColumn("_overtaking", overtaking).select("*", F.explode_outer(splits).alias("_split"))
    kept = [name for name in rows.columns if name != "_loaded"]
    is_split = F.col("_split").isNotNull()
    plain = _plain_span()
    own = (F.when(is_split, F.col(f"_split.{name}")).otherwise(plain[name]).alias(name) for name in _SPAN)
    return spanned.select(*kept, *own)


def is_last_at(version: str, known: str, loaded: str) -> str:
    """Condition over rows of `add_spans`, as SQL: the version is the last one that is known and loaded by these.

    What rules out most versions comes first, for it is asked of every pair of a row and a version.
    """
    is_succeeded = f"{version}._next_known <= {known} AND {version}._next_loaded <= {loaded}"
    is_loaded = f"{version}._loaded <= {loaded} AND {version}._until_loaded > {loaded}"
    return f"{version}.known_at <= {known} AND NOT ({is_succeeded}) AND {is_loaded}"


def _plain_span() -> dict[str, Column]:
    never, no_night = F.expr(_NEVER), F.lit(_NO_NIGHT)
    next_known, next_loaded = F.coalesce("_next_known", never), F.coalesce("_next_loaded", no_night)
    return dict(zip(_SPAN, (F.col("_loaded"), no_night, next_known, next_loaded), strict=True))


def _split_span() -> Column:
    next_one = F.struct(F.col("_next_known").alias("known"), F.col("_next_loaded").alias("loaded"))
    later = F.filter("_overtaking", lambda one: one["place"] > F.struct(*_ORDER))
    others = F.transform(later, lambda one: F.struct(one["known"].alias("known"), one["loaded"].alias("loaded")))
    successors = F.filter(F.array_prepend(others, next_one), lambda one: one["known"].isNotNull())
    loaded = F.transform(successors, lambda one: F.greatest(one["loaded"], F.col("_loaded")))
    marks = F.array_sort(F.array_distinct(F.array_append(loaded, F.col("_loaded"))))

    def span_from(mark: Column, index: Column) -> Column:
        taking_over = F.filter(successors, lambda one: one["loaded"] <= mark)
        known = F.array_min(F.transform(taking_over, lambda one: one["known"]))
        until = F.coalesce(F.get(marks, index + 1), F.lit(_NO_NIGHT))
        return _span(mark, until, F.coalesce(known, F.expr(_NEVER)), F.lit(_FIRST_NIGHT))

    return F.transform(marks, span_from)


def _span(loaded: Column, until: Column, next_known: Column, next_loaded: Column) -> Column:
    parts = zip((loaded, until, next_known, next_loaded), _SPAN, strict=True)
    return F.struct(*(part.alias(name) for part, name in parts))
