"""Rows of real databases as Arrow: SQLite always, PostgreSQL where its server is installed."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    create_engine,
    insert,
    make_url,
)

from nightloop.etl.header import name_type
from nightloop.etl.params import ChangeWindow, DatabaseExtract
from nightloop.etl.params import Column as Declared
from nightloop.fault import NightloopError, TransientError
from nightloop.stores.landing import database_reader
from nightloop.stores.landing.database_reader import read_database

T = [datetime(2025, 1, day, 2, tzinfo=UTC) for day in range(1, 6)]
DECLARED = {
    name: Declared.model_validate({"type": dtype})
    for name, dtype in {
        "id": "int",
        "amount": "double",
        "is_open": "boolean",
        "born": "date",
        "updated_at": "timestamp",
    }.items()
}
CUSTOMERS = Table(
    "customers",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("visits", BigInteger),
    Column("amount", Numeric(10, 2)),
    Column("is_open", Boolean),
    Column("born", Date),
    Column("name", String(20)),
    Column("updated_at", DateTime(timezone=True)),
)
both = pytest.mark.parametrize(
    "store_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)


def extract(**changes: Any) -> DatabaseExtract:
    document = {"kind": "database", "connection": "crm", "table": "customers", "changed_at": "updated_at"}
    return DatabaseExtract.model_validate(document | changes)


def read(url: str, asked: DatabaseExtract, after: datetime | None = None, to: datetime = T[-1]) -> pa.Table:
    with read_database(make_url(url), asked, DECLARED, ChangeWindow(after, to)) as reader:
        return reader.read_all()


@pytest.fixture
def customers(store_url: str) -> str:
    """URL of a database with one customer per instant of T, changed then."""
    engine = create_engine(store_url)
    CUSTOMERS.metadata.create_all(engine)
    rows = [
        {
            "id": number,
            "visits": 5_000_000_000,
            "amount": "1.50",
            "is_open": True,
            "born": date(1999, 12, 31),
            "name": "Zoë",
            "updated_at": at,
        }
        for number, at in enumerate(T)
    ]
    with engine.begin() as connection:
        connection.execute(insert(CUSTOMERS), rows)
    engine.dispose()
    return store_url


@both
def test_a_night_takes_the_rows_changed_since_the_night_before(customers: str) -> None:
    assert read(customers, extract(), T[1], T[3])["id"].to_pylist() == [2, 3]
    assert read(customers, extract(), None, T[1])["id"].to_pylist() == [0, 1]
    assert read(customers, extract(), T[3] - timedelta(microseconds=1), T[3])["id"].to_pylist() == [3]
    assert read(customers, extract(changed_at=None), T[3], T[3]).num_rows == 5


@both
def test_a_table_has_the_types_of_its_columns(customers: str) -> None:
    found = read(customers, extract())
    assert [name_type(field.type) for field in found.schema] == [
        "int",
        "bigint",
        "double",
        "boolean",
        "date",
        "string",
        "timestamp",
    ]
    first = found.slice(0, 1).to_pylist()[0]
    assert str(first.pop("amount")) == "1.50"
    assert first == {
        "id": 0,
        "visits": 5_000_000_000,
        "is_open": True,
        "born": date(1999, 12, 31),
        "name": "Zoë",
        "updated_at": T[0],
    }


@both
def test_a_query_has_the_types_of_its_values(customers: str) -> None:
    query = "SELECT id, visits, amount, is_open, born, NULL AS gone, 'a:b' AS label, updated_at FROM customers;"
    found = read(customers, extract(table=None, query=query), T[0], T[2])
    types = [name_type(field.type) for field in found.schema]
    assert types == ["int", "bigint", "double", "boolean", "date", "string", "string", "timestamp"]
    assert found.select(["id", "is_open", "born", "label", "updated_at"]).to_pylist() == [
        {"id": number, "is_open": True, "born": date(1999, 12, 31), "label": "a:b", "updated_at": T[number]}
        for number in (1, 2)
    ]


def test_many_rows_come_in_batches(customers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_reader, "BATCH_ROWS", 2)
    with read_database(make_url(customers), extract(), DECLARED, ChangeWindow(None, T[-1])) as reader:
        assert [batch.num_rows for batch in reader] == [2, 2, 1]


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        pytest.param({"table": "clients"}, NightloopError, "a table or view", id="no such table"),
        pytest.param({"changed_at": "at"}, NightloopError, "id, visits", id="no such change column"),
        pytest.param({"table": None, "query": "SELECT nothing FROM customers"}, TransientError, "nothing", id="query"),
    ],
)
def test_a_wrong_extract_is_a_clear_error(
    asked: dict[str, Any], error: type[Exception], words: str, customers: str
) -> None:
    with pytest.raises(error, match=words):
        read(customers, extract(**asked))


def test_a_value_of_another_type_is_named_by_its_column_alone(customers: str) -> None:
    engine = create_engine(customers)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE customers SET id = 5000000000 WHERE id = 3")
    engine.dispose()
    with pytest.raises(NightloopError, match="column id of customers") as caught:
        read(customers, extract())
    assert "5000000000" not in str(caught.value)


def test_a_database_that_does_not_answer_is_worth_another_attempt_and_keeps_its_password() -> None:
    url = "postgresql+psycopg://nightloop:hush-hush@127.0.0.1:9/crm?connect_timeout=2"
    with pytest.raises(TransientError, match="connection crm") as caught:
        read(url, extract())
    assert "hush-hush" not in str(caught.value)
