"""The stable views that analysts read: nights of the variant `main`, columns described like those of the tables.

Views are code, not history: a migration drops them first and creates them from here at its end, so a change of a view
comes with a revision, if only an empty one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, insert, inspect, select, text
from sqlalchemy.schema import CreateView, SetColumnComment

from nightloop.run import MAIN_VARIANT
from nightloop.stores.database.engine import is_sqlite, schema_of
from nightloop.stores.warehouse.schema import (
    WAREHOUSE,
    column_descriptions,
    drift_verdicts,
    loads,
    metadata,
    outcomes,
    performance,
    scores,
)


@dataclass(frozen=True)
class View:
    """One view; `renamed` describes the columns that no table has under the same name."""

    name: str
    description: str
    query: Select[Any]
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def creation(self) -> CreateView:
        return CreateView(self.query, self.name, schema=WAREHOUSE.name)

    def describe(self, column: str) -> str:
        """Return what a column holds: its own description, or that of the table's column it shows."""
        shown = self.query.selected_columns[column]
        return self.renamed.get(column) or str(getattr(shown, "comment", None) or "")


def _latest_scores() -> Select[Any]:
    newest_first = (scores.c.decision_time.desc(), scores.c.as_of.desc())
    recency = func.row_number().over(partition_by=(scores.c.use_case, scores.c.entity_key), order_by=newest_first)
    ranked = select(scores, recency.label("recency")).where(scores.c.variant == MAIN_VARIANT).subquery("ranked")
    return select(*(ranked.c[column.name] for column in _SCORE_COLUMNS)).where(ranked.c.recency == 1)


def _scores_with_outcome() -> Select[Any]:
    same_decision = and_(
        scores.c.use_case == outcomes.c.use_case,
        scores.c.entity_key == outcomes.c.entity_key,
        scores.c.decision_time == outcomes.c.decision_time,
        outcomes.c.variant == MAIN_VARIANT,
    )
    return (
        select(*_SCORE_COLUMNS, outcomes.c.label, outcomes.c.as_of.label("matured_as_of"))
        .select_from(scores.join(outcomes, same_decision))
        .where(scores.c.variant == MAIN_VARIANT)
    )


def _freshness() -> Select[Any]:
    return (
        select(
            loads.c.use_case,
            loads.c.dataset,
            func.max(loads.c.as_of).label("as_of"),
            func.max(loads.c.loaded_wall).label("loaded_wall"),
            func.count().label("nights"),
            func.sum(loads.c.row_count).label("row_count"),
        )
        .where(loads.c.variant == MAIN_VARIANT)
        .group_by(loads.c.use_case, loads.c.dataset)
    )


def _without_variant(table: Any) -> list[Any]:
    return [column for column in table.columns if column.name != "variant"]


_SCORE_COLUMNS = _without_variant(scores)

VIEWS = (
    View(
        "latest_scores",
        "one row per use case and entity: its last score",
        _latest_scores(),
        {column.name: str(column.comment) for column in _SCORE_COLUMNS},
    ),
    View(
        "score_history",
        "one row per use case, night, entity and decision time: every score",
        select(*_SCORE_COLUMNS).where(scores.c.variant == MAIN_VARIANT),
    ),
    View(
        "scores_with_outcome",
        "one row per score whose cohort has matured, with its outcome",
        _scores_with_outcome(),
        {"matured_as_of": "night in which the outcome's cohort matured, UTC"},
    ),
    View(
        "model_performance",
        "one row per measuring night, cohort, model version, population and metric",
        select(*_without_variant(performance)).where(performance.c.variant == MAIN_VARIANT),
    ),
    View(
        "drift",
        "one row per night: what the drift decision answered",
        select(*_without_variant(drift_verdicts)).where(drift_verdicts.c.variant == MAIN_VARIANT),
    ),
    View(
        "freshness",
        "one row per use case and table: its last night and its last load",
        _freshness(),
        {
            "as_of": "last night that was loaded, UTC",
            "loaded_wall": "wall time of the last load, UTC",
            "nights": "nights that are loaded",
            "row_count": "rows of all nights",
        },
    ),
)


def drop_views(connection: Connection) -> None:
    """Drop the views of an earlier revision, so that the tables below may change; views of others stay."""
    namespace = schema_of(connection, WAREHOUSE)
    if inspect(connection).has_table(column_descriptions.name, schema=namespace):
        described = set(connection.scalars(select(column_descriptions.c.relation)))
        for name in described & set(inspect(connection).get_view_names(schema=namespace)):
            connection.execute(text(f"DROP VIEW {f'{namespace}.' if namespace else ''}{name}"))


def create_views(connection: Connection) -> None:
    """Create every view, and write down what every relation and column holds."""
    connection.execute(delete(column_descriptions))
    connection.execute(insert(column_descriptions), _describe_tables())
    for view in VIEWS:
        creation = view.creation
        connection.execute(creation)
        connection.execute(insert(column_descriptions), _describe_view(view))
        if not is_sqlite(connection):
            connection.execute(text(f"COMMENT ON VIEW {WAREHOUSE.name}.{view.name} IS '{view.description}'"))
            for column in creation.table.columns:
                column.comment = view.describe(column.name)
                connection.execute(SetColumnComment(column))


def _describe_tables() -> list[dict[str, str]]:
    rows = []
    for table in metadata.sorted_tables:
        rows.append(_description(table.name, "", str(table.comment)))
        rows += [_description(table.name, column.name, str(column.comment)) for column in table.columns]
    return rows


def _describe_view(view: View) -> list[dict[str, str]]:
    names = [column.name for column in view.creation.table.columns]
    columns = [_description(view.name, name, view.describe(name)) for name in names]
    return [_description(view.name, "", view.description), *columns]


def _description(relation: str, column: str, description: str) -> dict[str, str]:
    return {"relation": relation, "column_name": column, "description": description}
