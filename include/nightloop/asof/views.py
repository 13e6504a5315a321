"""Run the SELECT of a folder over frames, and nothing else."""

import uuid
from collections.abc import Mapping

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame

from nightloop.fault import Fault, NightloopError, is_lost


def run_sql(sql: str, views: Mapping[str, DataFrame], where: str) -> DataFrame:
    """Return the result of one SELECT over the named frames.

    Spark Connect analyses a query anew at every action, so a view that is replaced would change frames made before.
    Each frame is therefore registered under a name of its own, and the query sees it by a WITH clause.

    Raises:
        NightloopError: Spark cannot analyse the query: an unknown column or view, a type that does not fit.
    """
    session = next(iter(views.values())).sparkSession
    clauses = []
    for name, frame in views.items():
        own = f"nightloop_{name}_{uuid.uuid4().hex}"
        frame.createOrReplaceTempView(own)
        clauses.append(f"`{name}` AS (SELECT * FROM {own})")  # noqa: S608 - both names are ours
    text = sql.strip().rstrip(";")
    try:
        # the text on lines of its own, as it may end in a `-- comment`
        result = session.sql(f"WITH {', '.join(clauses)}\nSELECT * FROM (\n{text}\n)")
        # Connect analyses nothing before it is asked: a wrong query would fail later, without the name of its file
        _ = result.columns
    except PySparkException as error:
        # by its kind first: what a query names, a column `UNAVAILABLE`, stands in the words of its error
        if not isinstance(error, AnalysisException) and is_lost(error):
            raise
        message = " ".join((error.getMessage() or str(error)).split("SQLSTATE")[0].split())
        raise NightloopError(
            Fault(where, f"a query over {', '.join(sorted(views))}", message[:600], "correct the query")
        ) from error
    return result
