"""The folders that come with the project, and the real-data folders of the tests."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml

from nightloop.folders.json_schema import export_schemas
from nightloop.folders.loading import list_folders, load_source, load_sources, load_use_case, load_use_cases
from nightloop.folders.source import Source
from nightloop.folders.validation import validate_folders
from nightloop.settings import CHECKOUT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOTS = [
    pytest.param(CHECKOUT / "include", id="packaged"),
    pytest.param(CHECKOUT / "tests/use_cases/lending_club", id="lending_club"),
    pytest.param(CHECKOUT / "tests/use_cases/nyc_taxi", id="nyc_taxi"),
]
ADDED = "known_at TIMESTAMP, known_by STRING, _file STRING, _row BIGINT"


@pytest.mark.parametrize("root", ROOTS)
def test_folders_are_without_fault(root: Path) -> None:
    assert validate_folders([root]) == []


def test_schemas_are_current() -> None:
    for name, text in export_schemas().items():
        assert (CHECKOUT / "include/schemas" / name).read_text() == text, "run `nightloop schema`"


@pytest.mark.parametrize("root", ROOTS)
def test_yamls_fit_their_schema_and_name_it(root: Path) -> None:
    for folder in [*list_folders("sources", [root]), *list_folders("use_cases", [root])]:
        for file in folder.glob("*.yaml"):
            schema = json.loads((CHECKOUT / "include/schemas" / f"{file.stem}.schema.json").read_text())
            first, _, rest = file.read_text().partition("\n")
            named = (folder / first.removeprefix("# yaml-language-server: $schema=")).resolve()
            assert named == CHECKOUT / "include/schemas" / f"{file.stem}.schema.json"
            document = json.loads(json.dumps(yaml.safe_load(rest), default=str))
            jsonschema.validate(document, schema)


def test_use_cases_are_short() -> None:
    for folder in list_folders("use_cases", [CHECKOUT / "include"]):
        assert 40 <= len((folder / "use_case.yaml").read_text().splitlines()) <= 80
        assert (folder / "README.md").is_file()


def test_what_loads_one_by_one_loads_together() -> None:
    roots = (CHECKOUT / "include",)
    assert load_sources(roots) == [load_source(folder.name, roots) for folder in list_folders("sources", roots)]
    names = [use_case.name for use_case in load_use_cases(roots)]
    assert names == ["loan_default", "taxi_duration"]
    assert load_use_case("loan_default", roots).protected == ("sex", "age_group")


@pytest.mark.slow
@pytest.mark.parametrize("root", ROOTS)
def test_spark_accepts_the_sql(spark: "SparkSession", root: Path) -> None:
    clean = {source.name: run_clean(spark, source) for source in load_sources([root])}
    for use_case in load_use_cases([root]):
        spark.createDataFrame([], "as_of TIMESTAMP, previous_as_of TIMESTAMP").createOrReplaceTempView("nights")
        for name in use_case.sources:
            empty(spark, name, f"as_of TIMESTAMP, {clean[name]}, {ADDED}")
            empty(spark, f"{name}_new", f"as_of TIMESTAMP, {clean[name]}, {ADDED}")
        spine = spark.sql(use_case.spine_sql)
        assert dict(spine.dtypes)["decision_time"] == "timestamp"
        columns = ", ".join(f"{name} {kind}" for name, kind in spine.dtypes)
        empty(spark, "spine", f"row_id STRING, {columns}")
        for name in use_case.sources:
            empty(spark, name, f"row_id STRING, {clean[name]}, {ADDED}")
            empty(spark, f"{name}_after", f"row_id STRING, {clean[name]}, {ADDED}")
        features = dict(spark.sql(use_case.features_sql).dtypes)
        assert set(features) == {"row_id", *use_case.features.names}
        assert {features[name] for name in use_case.features.categorical} <= {"string"}
        assert "string" not in {features[name] for name in use_case.features.numeric}
        label = dict(spark.sql(use_case.label_sql).dtypes)
        assert label["label"] in {"int", "double"}
        assert label.get(use_case.label.observed_when or "", "boolean") == "boolean"


def run_clean(spark: "SparkSession", source: Source) -> str:
    """Return the schema that a source's clean.sql gives."""
    dropped = {name for name, treatment in source.pii.items() if treatment.treatment == "drop"}
    raw = ", ".join(f"{name} {column.type}" for name, column in source.columns.items() if name not in dropped)
    empty(spark, "raw", f"{raw}, {ADDED}")
    clean = spark.sql(source.clean_sql).dtypes
    assert set(source.keys) <= {name for name, _ in clean}
    return ", ".join(f"{name} {kind}" for name, kind in clean)


def empty(spark: "SparkSession", name: str, schema: str) -> None:
    spark.createDataFrame([], schema).createOrReplaceTempView(name)
