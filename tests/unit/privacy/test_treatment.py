"""Personal data is treated before anything is written."""

import hashlib
import hmac
from typing import TYPE_CHECKING

import pytest

from nightloop.privacy.keyed import hash_text, key_id
from nightloop.privacy.params import PiiTreatment
from nightloop.privacy.treatment import treat_columns

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PARAMS = {
    "mail": PiiTreatment(treatment="hash"),
    "born": PiiTreatment(treatment="generalise", keep_characters=4),
    "name": PiiTreatment(treatment="drop"),
}


@pytest.mark.parametrize("key", [b"short key of 16.", b"k" * 100], ids=["short", "longer than a block"])
def test_hash_is_hmac_and_the_rest_is_cut_or_gone(spark: "SparkSession", key: bytes) -> None:
    rows = spark.createDataFrame(
        [("ä@b.c", "1980-05-01", "Ann", 1), (None, None, None, 2)], "mail string, born string, name string, n int"
    )
    treated = treat_columns(rows, key, PARAMS)
    expected = hmac.new(key, "ä@b.c".encode(), hashlib.sha256).hexdigest()
    assert hash_text("ä@b.c", key) == expected
    assert [tuple(row) for row in treated.orderBy("n").collect()] == [(expected, "1980", 1), (None, None, 2)]


def test_key_is_in_no_plan(spark: "SparkSession", capsys: pytest.CaptureFixture[str]) -> None:
    key = b"\x01\x02secret-secret!!"
    treat_columns(spark.createDataFrame([("a",)], "mail string"), key, PARAMS).explain(extended=True)
    plan = capsys.readouterr().out.lower()
    padded = key.ljust(64, b"\0")
    for pad in (0x00, 0x36, 0x5C):
        assert bytes(byte ^ pad for byte in padded).hex() not in plan
    assert "secret" not in plan


def test_key_id_names_the_key_without_telling_it() -> None:
    assert key_id(b"a" * 16) != key_id(b"b" * 16)
    assert "a" * 16 not in key_id(b"a" * 16)
