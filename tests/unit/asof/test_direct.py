"""Joins by row become joins with versions, and the spine comes along, where that gives the same rows; nowhere else."""

import pytest

from nightloop.asof.direct import carry_columns, join_versions

SELECT = "SELECT spine.row_id, trips.fare FROM spine "


def met(*, row: str, version: str) -> str:
    return f"{version}.place = {row}.place"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            SELECT + "LEFT JOIN trips ON trips.row_id = spine.row_id",
            SELECT + "LEFT JOIN trips ON (`trips`.place = `spine`.place)",
        ),
        (
            "SELECT s.row_id FROM Spine AS s JOIN Trips t -- of a day\n ON s.hour > 3 AND (s.row_id = t.row_id)",
            "SELECT s.row_id FROM Spine AS s JOIN Trips t -- of a day\n ON s.hour > 3 AND ((`t`.place = `s`.place))",
        ),
        (
            SELECT + "LEFT JOIN trips ON trips.row_id = spine.row_id LEFT JOIN rain r ON r.row_id = spine.row_id",
            SELECT
            + "LEFT JOIN trips ON (`trips`.place = `spine`.place) LEFT JOIN rain r ON (`r`.place = `spine`.place)",
        ),
        (
            "WITH paid AS (SELECT s.row_id, count(*) AS n FROM spine s JOIN trips ON trips.row_id = s.row_id "
            "GROUP BY s.row_id) SELECT spine.row_id, paid.n FROM spine LEFT JOIN paid ON paid.row_id = spine.row_id",
            "WITH paid AS (SELECT s.row_id, count(*) AS n FROM spine s JOIN trips ON (`trips`.place = `s`.place) "
            "GROUP BY s.row_id) SELECT spine.row_id, paid.n FROM spine LEFT JOIN paid ON paid.row_id = spine.row_id",
        ),
    ],
)
def test_joins_by_row_ask_the_versions(sql: str, expected: str) -> None:
    assert join_versions(sql, {"trips": met, "rain": met})[0] == expected


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT trips.row_id, trips.fare FROM trips", id="not of the spine"),
        pytest.param(SELECT + "LEFT JOIN trips ON trips.row_id = spine.trip_id", id="another column of the spine"),
        pytest.param(SELECT + "LEFT JOIN trips ON trips.row_id >= spine.row_id", id="no equality"),
        pytest.param(SELECT + "LEFT JOIN trips ON trips.row_id = spine.row_id OR spine.x", id="a looser condition"),
        pytest.param(SELECT + "LEFT JOIN trips ON NOT trips.row_id = spine.row_id", id="negated"),
        pytest.param(SELECT + "LEFT JOIN trips USING (row_id)", id="the id is a column of the result"),
        pytest.param(SELECT + "RIGHT JOIN trips ON trips.row_id = spine.row_id", id="keeps other rows"),
        pytest.param(SELECT + "LEFT ANTI JOIN trips ON trips.row_id = spine.row_id", id="keeps other rows still"),
        pytest.param(
            "SELECT trips.row_id FROM spine LEFT JOIN trips ON trips.row_id = spine.row_id", id="the id is read too"
        ),
        pytest.param(
            "SELECT spine.row_id FROM spine LEFT JOIN trips ON trips.row_id = spine.row_id WHERE row_id > 'a'",
            id="an id of nobody",
        ),
        pytest.param("SELECT * FROM spine LEFT JOIN trips ON trips.row_id = spine.row_id", id="the id is in the star"),
        pytest.param(
            "WITH spine AS (SELECT row_id FROM trips) " + SELECT + "LEFT JOIN trips ON trips.row_id = spine.row_id",
            id="another spine",
        ),
        pytest.param(
            SELECT + "LEFT JOIN trips ON trips.row_id = spine.row_id LEFT JOIN (SELECT r.row_id AS id FROM trips r) b "
            "ON b.id = spine.row_id",
            id="the view is read as well",
        ),
        pytest.param(
            SELECT + "LEFT JOIN trips TABLESAMPLE (5 ROWS) ON trips.row_id = spine.row_id", id="a sample of it"
        ),
        pytest.param("SELECT FROM WHERE", id="no query"),
    ],
)
def test_every_other_query_stays_as_it_is(sql: str) -> None:
    assert join_versions(sql, {"trips": met}) == (sql, frozenset())


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "SELECT spine.row_id, a.x FROM spine LEFT JOIN a ON a.y = spine.y",
            "SELECT spine.row_id, a.x\n, `spine`.`z` AS `_z`\nFROM spine LEFT JOIN a ON a.y = spine.y",
        ),
        (
            "SELECT s.row_id, s.x IS DISTINCT FROM s.y AS z -- from here\nfrom spine s",
            "SELECT s.row_id, s.x IS DISTINCT FROM s.y AS z -- from here\n, `s`.`z` AS `_z`\nfrom spine s",
        ),
    ],
)
def test_the_spine_comes_along(sql: str, expected: str) -> None:
    assert carry_columns(sql, {"_z": "z"}) == expected


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT spine.row_id FROM spine WHERE spine.x", id="rows are left out"),
        pytest.param("SELECT spine.row_id FROM spine JOIN a ON a.y = spine.y", id="rows may be left out"),
        pytest.param("SELECT spine.row_id FROM spine, a", id="rows are multiplied by those of another view"),
        pytest.param("SELECT spine.row_id FROM spine GROUP BY spine.row_id", id="grouped"),
        pytest.param("SELECT DISTINCT spine.row_id FROM spine", id="distinct"),
        pytest.param("SELECT max(spine.row_id) AS row_id FROM spine", id="one row of all"),
        pytest.param("SELECT spine.row_id, explode(spine.many) AS one FROM spine", id="exploded"),
        pytest.param("SELECT spine.row_id, o FROM spine LATERAL VIEW explode(spine.many) t AS o", id="exploded beside"),
        pytest.param("SELECT spine.row_id FROM spine LIMIT 3", id="some"),
        pytest.param("SELECT a.row_id FROM spine LEFT JOIN a ON a.y = spine.y", id="the id of another view"),
        pytest.param("SELECT upper(spine.row_id) AS row_id FROM spine", id="another id"),
        pytest.param("SELECT row_id FROM spine", id="an id of whom it does not say"),
        pytest.param("SELECT spine.row_id, (SELECT max(a.x) FROM a) AS x FROM spine", id="an aggregate, if inside"),
        pytest.param("SELECT spine.row_id FROM spine UNION ALL SELECT spine.row_id FROM spine", id="two queries"),
        pytest.param("WITH spine AS (SELECT 1 AS row_id) SELECT spine.row_id FROM spine", id="another spine"),
        pytest.param("SELECT a.row_id FROM a", id="not of the spine"),
        pytest.param("SELECT FROM WHERE", id="no query"),
    ],
)
def test_the_spine_stays_away(sql: str) -> None:
    assert carry_columns(sql, {"_z": "z"}) is None
