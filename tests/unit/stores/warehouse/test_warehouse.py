"""The warehouse: exactly the run key is replaced, at once; zombies are refused; every column is described."""

import threading
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from sqlalchemy import text

from nightloop.fault import FencedError, NightloopError
from nightloop.run import RunKey, format_night
from nightloop.stores.database.engine import build_engine, is_sqlite
from nightloop.stores.ledger.rows import MetricRow
from nightloop.stores.warehouse.rows import performance_table
from nightloop.stores.warehouse.schema import WAREHOUSE, metadata
from nightloop.stores.warehouse.views import VIEWS
from nightloop.stores.warehouse.warehouse import Warehouse, migrate
from nightloop.verdict import Verdict

BACKENDS = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.slow),
]
pytestmark = pytest.mark.parametrize("store_url", BACKENDS, indirect=True)

FIRST = datetime(2025, 1, 1, 2, tzinfo=UTC)
ODD = 'a,b|"é\n'


def night(number: int) -> datetime:
    return FIRST + timedelta(days=number)


def key(number: int, variant: str = "main") -> RunKey:
    return RunKey("taxi", night(number), variant)


def lake_scores(*scored: tuple[str, int, float | None]) -> pa.Table:
    """Rows as the lake holds them, from (entity key, night, score)."""
    micros = [int(night(number).timestamp() * 1e6) for _, number, _ in scored]
    return pa.table(
        {
            "row_id": [f"{entity}@{time}" for (entity, _, _), time in zip(scored, micros, strict=True)],
            "decision_time": pa.array(micros, pa.timestamp("us", "UTC")),
            "score": pa.array([score for _, _, score in scored], pa.float64()),
            "decision": pa.array([None] * len(scored), pa.int32()),
            "model_version": pa.array([1] * len(scored), pa.int32()),
            "feature_version": ["abc"] * len(scored),
            "night": [format_night(night(number)) for _, number, _ in scored],
        }
    )


def lake_labels(entity: str, decided: int, matured: int, label: float | None) -> pa.Table:
    decision = lake_scores((entity, decided, None)).select(["row_id", "decision_time"])
    nights = {"cohort": decided, "night": matured}
    labels = decision.append_column("label", pa.array([label], pa.float64()))
    for name, number in nights.items():
        labels = labels.append_column(name, pa.array([format_night(night(number))]))
    return labels


def shown(warehouse: Warehouse, view: str, *names: str) -> list[tuple[object, ...]]:
    return sorted(tuple(row[name] for name in names) for row in warehouse.read(view, "taxi"))


def test_rows_come_back_as_they_were(open_warehouse: Warehouse) -> None:
    rows = lake_scores((ODD, 0, 0.1), ("", 0, 1e-300), ("nan", 0, float("nan")), ("x", 0, None))
    assert open_warehouse.replace_scores(key(0), rows, 1) == 4
    found = {row["entity_key"]: row for row in open_warehouse.read("score_history", "taxi")}
    assert {entity: row["score"] for entity, row in found.items()} == {ODD: 0.1, "": 1e-300, "nan": None, "x": None}
    assert {row["as_of"] for row in found.values()} == {night(0)}
    assert {row["decision_time"] for row in found.values()} == {night(0)}


def test_exactly_the_run_keys_are_replaced(open_warehouse: Warehouse) -> None:
    open_warehouse.replace_scores([key(0), key(1), key(2)], lake_scores(*(("a", n, 0.5) for n in range(3))), 1)
    open_warehouse.replace_scores(key(1, "restated"), lake_scores(("a", 1, 0.9)), 2)
    open_warehouse.replace_scores([key(1), key(2)], iter(lake_scores(("b", 1, 0.6)).to_batches()), 3)
    assert shown(open_warehouse, "score_history", "as_of", "entity_key") == [(night(0), "a"), (night(1), "b")]
    assert open_warehouse.count("scores", key(1, "restated")) == 1
    assert open_warehouse.count("scores", [key(0), key(1), key(2)]) == 2


def test_load_repeated_leaves_equal_rows(open_warehouse: Warehouse) -> None:
    rows = lake_scores(("a", 0, 0.25), ("b", 0, 0.75))
    hashes = []
    for order in ([0, 1], [1, 0]):
        open_warehouse.replace_scores(key(0), rows.take(order), 1)
        hashes.append(open_warehouse.content_hash("scores", key(0)))
    assert hashes[0] == hashes[1]
    open_warehouse.replace_scores(key(0), lake_scores(("a", 0, 0.25), ("b", 0, 0.5)), 1)
    assert open_warehouse.content_hash("scores", key(0)) != hashes[0]


def test_zombie_is_refused_and_changes_nothing(open_warehouse: Warehouse) -> None:
    open_warehouse.replace_scores([key(0), key(1)], lake_scores(("new", 0, 0.5)), 8)
    with pytest.raises(FencedError, match=r"token 7.*found token 8"):
        open_warehouse.replace_scores([key(1), key(2)], lake_scores(("old", 2, 0.5)), 7)
    assert shown(open_warehouse, "score_history", "entity_key") == [("new",)]


def test_failed_load_leaves_the_old_rows(open_warehouse: Warehouse) -> None:
    open_warehouse.replace_scores(key(0), lake_scores(("old", 0, 0.5)), 1)

    def broken():  # type: ignore[no-untyped-def]
        yield from lake_scores(("new", 0, 0.5)).to_batches()
        raise RuntimeError("the lake went away")

    with pytest.raises(RuntimeError):
        open_warehouse.replace_scores(key(0), broken(), 2)
    assert shown(open_warehouse, "score_history", "entity_key") == [("old",)]
    open_warehouse.replace_scores(key(0), lake_scores(("newer", 0, 0.5)), 1)


def test_reader_sees_the_old_rows_or_the_new(open_warehouse: Warehouse) -> None:
    rows = lake_scores(*((str(entity), 0, 0.5) for entity in range(3000)))
    open_warehouse.replace_scores(key(0), rows, 1)
    is_done, seen = threading.Event(), set()

    def count() -> None:
        while not is_done.is_set():
            seen.add(open_warehouse.count("scores", key(0)))

    reader = threading.Thread(target=count)
    reader.start()
    for token in range(2, 8):
        open_warehouse.replace_scores(key(0), rows.to_batches(max_chunksize=100), token)
    is_done.set()
    reader.join()
    assert seen == {3000}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(lake_scores(("a", 0, 0.5)).drop(["score"]), "expected columns score, found", id="missing-column"),
        pytest.param(lake_scores(("a", 5, 0.5)), "found rows of 20250106T0200Z", id="foreign-night"),
    ],
)
def test_wrong_rows_are_refused(open_warehouse: Warehouse, rows: pa.Table, message: str) -> None:
    with pytest.raises(NightloopError, match=message):
        open_warehouse.replace_scores([key(0), key(1)], rows, 1)
    assert open_warehouse.count("scores", key(0)) == 0


def test_views_show_main_nights_and_join_outcomes(open_warehouse: Warehouse) -> None:
    open_warehouse.replace_scores([key(0), key(1)], lake_scores(("a", 0, 0.1), ("a", 1, 0.2), ("b", 0, 0.3)), 1)
    open_warehouse.replace_scores(key(1, "shadow-2"), lake_scores(("a", 1, 0.9)), 2)
    open_warehouse.replace_outcomes(key(2), lake_labels("a", 0, 2, 1.0), 3)
    open_warehouse.replace_outcomes(key(2, "shadow-2"), lake_labels("b", 0, 2, 1.0), 3)
    assert shown(open_warehouse, "latest_scores", "entity_key", "score") == [("a", 0.2), ("b", 0.3)]
    assert shown(open_warehouse, "score_history", "score") == [(0.1,), (0.2,), (0.3,)]
    joined = shown(open_warehouse, "scores_with_outcome", "entity_key", "score", "label", "matured_as_of")
    assert joined == [("a", 0.1, 1.0, night(2))]
    fresh = shown(open_warehouse, "freshness", "dataset", "as_of", "nights", "row_count")
    assert fresh == [("outcomes", night(2), 1, 1), ("scores", night(1), 2, 3)]


def test_performance_and_verdicts_are_shown(open_warehouse: Warehouse) -> None:
    metrics = [MetricRow("taxi", night(2), "main", night(1), 4, "observed", "rmse", 2.5, 90)]
    open_warehouse.replace_performance(key(2), performance_table(metrics), 1)
    wait = Verdict("taxi", "wait", "no matured label", columns=("x", "y"), facts={"until": "2025-02-01T00:00:00+00:00"})
    open_warehouse.replace_verdict(key(2), wait, None, 1)
    open_warehouse.replace_verdict(key(2), wait, 4, 2)
    performance = shown(open_warehouse, "model_performance", "cohort_as_of", "model_version", "metric", "value")
    assert performance == [(night(1), 4, "rmse", 2.5)]
    drift = shown(open_warehouse, "drift", "answer", "columns", "until", "model_version")
    assert drift == [("wait", "x, y", datetime(2025, 2, 1, tzinfo=UTC), 4)]


def test_every_column_is_described(open_warehouse: Warehouse, store_url: str) -> None:
    relations = [*(table.name for table in metadata.sorted_tables), *(view.name for view in VIEWS)]
    engine = build_engine(store_url, WAREHOUSE)
    with engine.connect() as connection:
        schema, prefix = (None, "") if is_sqlite(connection) else ("warehouse", "warehouse.")
        query = text(f"SELECT relation, column_name, description FROM {prefix}column_descriptions")
        described = {(row.relation, row.column_name): row.description for row in connection.execute(query)}
        for relation in relations:
            for column in connection.dialect.get_columns(connection, relation, schema=schema):
                assert described[relation, column["name"]]
                if schema:
                    assert column["comment"] == described[relation, column["name"]]
    engine.dispose()
    migrate(store_url)
