"""What a folder's SQL may not do, each refused with its line."""

import pytest

from nightloop.asof.version import feature_version
from nightloop.sql.check import SqlContract, check_condition, check_sql, list_output, normalise_sql

VIEWS = {"spine": ("row_id", "trip_id"), "trips": ("row_id", "fare", "zone", "parts")}
CONTRACT = SqlContract(VIEWS)


@pytest.mark.parametrize(
    ("sql", "line", "expected", "found"),
    [
        pytest.param("DROP TABLE trips", 1, "a SELECT", "DROP", id="drop"),
        pytest.param("INSERT INTO trips SELECT * FROM trips", 1, "a SELECT", "INSERT", id="insert"),
        pytest.param("SET spark.x=1", 1, "a SELECT", "SET", id="set"),
        pytest.param("VALUES (1)", 1, "a SELECT", "VALUES", id="values"),
        pytest.param("SELECT fare FROM trips;\nSELECT zone FROM trips", 2, "one statement", "2 statements", id="two"),
        pytest.param("", 1, "one statement", "0 statements", id="empty"),
        pytest.param("SELECT *\nFROM delta.`/lake/x`", 2, "one of the views", "delta.`/lake/x`", id="delta path"),
        pytest.param("SELECT *\nFROM text.`/etc/passwd`", 2, "one of the views", "text.`/etc/passwd`", id="text path"),
        pytest.param(
            "SELECT fare FROM trips\nWHERE EXISTS (SELECT 1 FROM parquet.`/x`)", 2, "one of", "parquet", id="inner path"
        ),
        pytest.param("SELECT *\nFROM read_files('/x')", 2, "SQL functions only", "READ_FILES", id="table function"),
        pytest.param("SELECT *\nFROM identifier('x')", 2, "one of the views", "IDENTIFIER", id="identifier clause"),
        pytest.param(
            "SELECT 1 AS a\nFROM elsewhere", 2, "one of the views spine, trips", "elsewhere", id="unknown view"
        ),
        pytest.param(
            "WITH x AS (\nSELECT * FROM x) SELECT * FROM x", 2, "one of the views", "x", id="clause named like a table"
        ),
        pytest.param("SELECT fare\nFROM trips VERSION AS OF 3", 2, "a view as it is", "VERSION AS OF", id="version"),
        pytest.param(
            "SELECT fare\nFROM trips TIMESTAMP AS OF '2025-01-01'", 2, "a view as it is", "TIMESTAMP", id="timestamp"
        ),
        pytest.param(
            "SELECT\n  reflect('java.lang.System', 'exit') FROM trips", 2, "SQL functions only", "REFLECT", id="reflect"
        ),
        pytest.param(
            "SELECT\n  java_method('a', 'b') FROM trips", 2, "SQL functions only", "JAVA_METHOD", id="java_method"
        ),
        pytest.param(
            "SELECT TRANSFORM(fare) USING 'cat' AS (a) FROM trips", 1, "a SELECT", "QUERYTRANSFORM", id="transform"
        ),
        pytest.param("SELECT\n  input_file_name() FROM trips", 2, "without chance", "INPUT_FILE_NAME", id="file name"),
        pytest.param("SELECT\n  current_date AS d FROM trips", 2, "clock", "CURRENT_DATE", id="date without brackets"),
        pytest.param("SELECT fare,\n\n  now() AS n FROM trips", 3, "clock", "NOW", id="now"),
        pytest.param("SELECT unix_timestamp() AS s FROM trips", 1, "clock", "CURRENT_TIMESTAMP", id="seconds now"),
        pytest.param("SELECT fare FROM trips\nORDER BY rand()", 2, "chance", "RAND", id="rand"),
        pytest.param("SELECT uuid() AS u FROM trips", 1, "chance", "UUID", id="uuid"),
        pytest.param("SELECT shuffle(parts) AS p FROM trips", 1, "chance", "SHUFFLE", id="shuffle"),
        pytest.param(
            "SELECT monotonically_increasing_id() AS i FROM trips", 1, "chance", "MONOTONICALLY", id="row number"
        ),
        pytest.param("SELECT fare FROM trips TABLESAMPLE (10 PERCENT)", 1, "deterministic", "TABLESAMPLE", id="sample"),
        pytest.param("SELECT fare FROM trips\nLIMIT 3", 2, "every row", "LIMIT", id="limit"),
        pytest.param("SELECT current_user() AS u FROM trips", 1, "session", "CURRENT_USER", id="user"),
        pytest.param("SELECT current_database() AS d FROM trips", 1, "session", "CURRENT", id="database"),
        pytest.param("SELECT version() AS v FROM trips", 1, "session", "VERSION", id="spark version"),
        pytest.param("SELECT first(fare) AS f FROM trips", 1, "order of rows", "FIRST", id="first"),
        pytest.param("SELECT collect_list(fare) AS f FROM trips", 1, "order of rows", "COLLECT_LIST", id="collect"),
        pytest.param("SELECT fare FROM trips WHERE fare > :limit", 1, "fixed SQL", ":limit", id="parameter"),
        pytest.param("SELECT\n  trips.tip FROM trips", 2, "a column of trips", "tip", id="qualified column"),
        pytest.param("SELECT\n  tip FROM trips", 2, "a column of trips", "tip", id="plain column"),
        pytest.param("SELECT fare, zone AS fare FROM trips", 1, "every output column once", "`fare` 2", id="twice"),
        pytest.param("SELECT FROM WHERE", 1, "parses", "WHERE", id="syntax"),
    ],
)
def test_refused(sql: str, line: int, expected: str, found: str) -> None:
    faults = check_sql(sql, "features.sql", CONTRACT)
    assert faults
    assert faults[0].where == f"features.sql:{line}"
    assert expected in faults[0].expected
    assert found in faults[0].found


@pytest.mark.parametrize(
    ("sql", "line", "expected", "found", "remedy"),
    [
        pytest.param(
            "SELECT spine.row_id, fair FROM spine\nJOIN trips ON trips.row_id = spine.row_id",
            1, "a column of spine or trips: fare, parts", "fair", "did you mean `fare`?", id="joined views",
        ),
        pytest.param(
            "SELECT t.row_id\nFROM trips t\nWHERE t.zones > 1",
            3, "a column of trips", "zones", "`zone`", id="condition",
        ),
        pytest.param(
            "WITH a AS (\nSELECT row_id, fares FROM trips) SELECT row_id FROM a",
            2, "a column of trips", "fares", "`fare`", id="inside WITH",
        ),
        pytest.param(
            "WITH a AS (SELECT row_id, fare AS paid FROM trips)\nSELECT row_id, a.fare FROM a",
            2, "a column of a: paid, row_id", "fare", "correct its name", id="renamed by WITH",
        ),
        pytest.param(
            "SELECT s.row_id FROM spine s\nWHERE EXISTS (SELECT 1 FROM trips t WHERE t.row_id = s.id)",
            2, "a column of spine", "id", "correct its name", id="outer view of a subquery",
        ),
        pytest.param(
            "SELECT x.row_id,\n x.tip FROM (SELECT row_id, max(fare) AS m FROM trips GROUP BY row_id) x",
            2, "a column of x: m, row_id", "tip", "correct its name", id="derived table",
        ),
        pytest.param(
            "SELECT row_id FROM spine\nGROUP BY row_id, nobody.fare",
            2, "a column of spine", "nobody", "correct its name", id="no such view",
        ),
    ],
)  # fmt: skip
def test_column_that_does_not_exist(sql: str, line: int, expected: str, found: str, remedy: str) -> None:
    (fault,) = check_sql(sql, "features.sql", CONTRACT)
    assert fault.where == f"features.sql:{line}"
    assert expected in fault.expected
    assert fault.found == found
    assert remedy in fault.remedy


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param(
            "SELECT s.row_id, (SELECT max(t.fare) FROM trips t WHERE t.row_id = s.row_id) AS m FROM spine s",
            id="correlated",
        ),
        pytest.param("SELECT fare * 2 AS doubled, doubled + 1 AS more FROM trips ORDER BY more", id="alias"),
        pytest.param("SELECT e.part, part AS p FROM trips LATERAL VIEW explode(parts) e AS part", id="lateral view"),
        pytest.param("SELECT trips.parts.length AS n, parts.width AS w FROM trips", id="struct"),
        pytest.param("SELECT * EXCEPT (zone) FROM trips", id="except"),
        pytest.param("SELECT spine.row_id, fare FROM spine JOIN trips USING (row_id)", id="using"),
        pytest.param("WITH a AS (SELECT * FROM trips) SELECT a.zone, fare FROM a", id="star of WITH"),
        pytest.param("SELECT spine.row_id, t.fare FROM spine LEFT JOIN trips t ON t.row_id = spine.row_id", id="join"),
        pytest.param("WITH a AS (SELECT fare AS f FROM trips) SELECT a.f FROM a", id="with"),
        pytest.param("SELECT sort_array(collect_list(fare)) AS fares FROM trips", id="sorted list"),
        pytest.param("SELECT unix_timestamp(zone) AS s FROM trips -- now()", id="comment"),
        pytest.param("SELECT 'current_date; DROP TABLE x' AS text FROM trips", id="text"),
        pytest.param("SELECT row_number() OVER (PARTITION BY zone ORDER BY fare) AS n FROM trips;", id="window"),
        pytest.param("SELECT transform(parts, x -> x + 1) AS parts FROM trips", id="lambda"),
    ],
)
def test_accepted(sql: str) -> None:
    assert check_sql(sql, "features.sql", CONTRACT) == []


def test_every_fault_is_told_in_order() -> None:
    sql = "SELECT now() AS a,\n  rand() AS b\nFROM elsewhere"
    assert [fault.where for fault in check_sql(sql, "f.sql", CONTRACT)] == ["f.sql:1", "f.sql:2", "f.sql:3"]


def test_missing_output_column() -> None:
    (fault,) = check_sql("SELECT fare FROM trips", "f.sql", SqlContract(VIEWS, ("row_id", "fare")))
    assert "`row_id`" in fault.expected
    assert fault.found == "the columns fare"


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT DISTINCT fare FROM trips", id="distinct"),
        pytest.param("SELECT max(fare) AS fare FROM trips", id="aggregate"),
        pytest.param("SELECT fare FROM trips WHERE fare > 0", id="where"),
        pytest.param("SELECT explode(parts) AS fare FROM trips", id="explode"),
        pytest.param("SELECT fare FROM trips UNION ALL SELECT fare FROM trips", id="union"),
    ],
)
def test_clean_sql_keeps_rows(sql: str) -> None:
    faults = check_sql(sql, "clean.sql", SqlContract(VIEWS, is_row_wise=True))
    assert any("one row out for each row in" in fault.expected for fault in faults)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        pytest.param("is_gone OR rand() > 0.5", "RAND", id="chance"),
        pytest.param("is_gone; DROP TABLE x", "", id="statement"),
        pytest.param("id IN (SELECT id FROM other)", "SELECT", id="query"),
        pytest.param("is_lost", "is_lost", id="column"),
        pytest.param("1 = 1 UNION SELECT 2", "UNION", id="union"),
    ],
)
def test_conditions_are_on_the_row(condition: str, found: str) -> None:
    faults = check_condition(condition, "source.yaml:3 tombstone", ("is_gone", "id"))
    assert faults
    assert found in faults[0].found


def test_plain_condition_passes() -> None:
    assert check_condition("is_gone AND id IS NOT NULL", "x", ("is_gone", "id")) == []


def test_output_of_a_star() -> None:
    assert list_output("SELECT *, 1 AS one FROM trips", VIEWS) == ["row_id", "fare", "zone", "parts", "one"]
    assert list_output("SELECT * FROM unknown", VIEWS) is None


def version(features: str = "SELECT row_id, fare FROM spine", schema: str = "int", engine: str = "1") -> str:
    return feature_version(
        {"trips": "SELECT a FROM raw"}, "SELECT a FROM trips_new", features, {"trips": schema}, engine
    )


def test_layout_does_not_change_the_feature_version() -> None:
    assert normalise_sql("select a, -- note\n b from raw") == normalise_sql("SELECT a, b FROM raw")
    assert version("select row_id,\n fare -- note\nfrom spine") == version()
    assert len(version()) == 12


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"features": "SELECT row_id, fare + 1 AS fare FROM spine"}, id="features"),
        pytest.param({"schema": "double"}, id="schema"),
        pytest.param({"engine": "2"}, id="engine"),
    ],
)
def test_meaning_changes_the_feature_version(other: dict[str, str]) -> None:
    assert version(**other) != version()
