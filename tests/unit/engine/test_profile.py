"""The local profile takes further entries from the environment; the submitter's configuration stays his own."""

import pytest

from nightloop.engine.profile import CONF_VARIABLE, spark_conf
from nightloop.engine.server import SMALL_NIGHTS
from nightloop.fault import NightloopError


def test_stated_entries_join_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONF_VARIABLE, f"{SMALL_NIGHTS[CONF_VARIABLE]} spark.sql.shuffle.partitions=7")
    conf = spark_conf()
    assert conf["spark.sql.codegen.wholeStage"] == "false"
    assert conf["spark.sql.shuffle.partitions"] == "7"
    assert "spark.sql.codegen.wholeStage" not in spark_conf(is_submitted=True)


@pytest.mark.parametrize("stated", ["spark.a", "x=1", "spark.a=1 nonsense"])
def test_an_entry_that_is_no_setting_is_named(stated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONF_VARIABLE, stated)
    with pytest.raises(NightloopError, match=stated.rsplit(maxsplit=1)[-1]):
        spark_conf()
