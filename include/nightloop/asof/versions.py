"""Which of a record's versions is the last one, at one cut-off or for every decision at once."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

# file and row make the order total: among equal instants Spark would choose anew in every run
_ORDER = ("known_at", "night", "_file", "_row")
_NEVER = "TIMESTAMP '9999-01-01 00:00:00'"
_NO_NIGHT = "9"  # after every name of a night


def last_versions(rows: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Return the last version of each record."""
    recent_first = Window.partitionBy(*keys).orderBy(*(F.col(name).desc() for name in _ORDER))
    return rows.withColumn("_rank", F.row_number().over(recent_first)).where(F.col("_rank") == 1).drop("_rank")


def add_spans(rows: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Add what tells when each version is the last one, as `is_last_at` reads it; `_loaded` names a night.

    A version is succeeded where a later one is both known and loaded. Mostly each is loaded no earlier than the one
    before it; then the next one alone decides. One that overtook, because a record known earlier was loaded after it
    (it came late, or was repaired), succeeds several: they list it in `_overtaken_by`, which is null elsewhere.
    """
    record = Window.partitionBy(*keys)
    order = record.orderBy(*_ORDER)
    ordered = rows.withColumns(
        {
            # never null: in `is_last_at` a null would hide the last version of every record
            "_next_known": F.coalesce(F.lead("known_at").over(order), F.expr(_NEVER)),
            "_next_loaded": F.coalesce(F.lead("_loaded").over(order), F.lit(_NO_NIGHT)),
            # the version before it tells: loaded no later than this one, it has succeeded all that this one would
            "_overtakes": F.col("_loaded") < F.lag("_loaded").over(order),
        }
    )
    place = F.struct(*_ORDER)
    overtaking = F.struct(place.alias("place"), F.col("known_at").alias("known"), F.col("_loaded").alias("loaded"))
    listed = ordered.withColumn("_listed", F.collect_list(F.when(F.col("_overtakes"), overtaking)).over(record))
    later = F.filter("_listed", lambda one: one["place"] > place)
    # null for nearly every version, which spares `is_last_at` the search of a list
    return listed.withColumn("_overtaken_by", F.when(F.size("_listed") > 0, later)).drop("_overtakes", "_listed")


def is_last_at(version: str, known: str, loaded: str) -> str:
    """Condition over rows of `add_spans`, as SQL: the version is the last one that is known and loaded by these.

    What rules out most versions comes first, for it is asked of every pair of a row and a version.
    """
    is_succeeded = f"{version}._next_known <= {known} AND {version}._next_loaded <= {loaded}"
    overtook = f"exists({version}._overtaken_by, one -> one.known <= {known} AND one.loaded <= {loaded})"
    return (
        f"{version}.known_at <= {known} AND NOT ({is_succeeded}) AND {version}._loaded <= {loaded}"
        f" AND ({version}._overtaken_by IS NULL OR NOT {overtook})"
    )
