"""The version of a use case's features: a hash of everything that decides their values."""

import hashlib
import json
from collections.abc import Mapping

from nightloop.sql.check import normalise_sql

_DIGITS = 12


def feature_version(
    clean_sqls: Mapping[str, str],
    spine_sql: str,
    features_sql: str,
    schemas: Mapping[str, object],
    engine_version: str,
) -> str:
    """Return 12 hex digits that change when, and only when, the features could.

    `clean_sqls` and `schemas` are by source; a schema is any JSON value that says how the source is read, joined and
    seen. Comments, layout and the case of keywords do not count.
    """
    closure = {
        "clean": {name: normalise_sql(sql) for name, sql in sorted(clean_sqls.items())},
        "spine": normalise_sql(spine_sql),
        "features": normalise_sql(features_sql),
        "schemas": {name: schemas[name] for name in sorted(schemas)},
        "engine": engine_version,
    }
    text = json.dumps(closure, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
