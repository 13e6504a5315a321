"""The schema of a lake table, held to what is about to be written: name by name, type by type."""

import json
from collections.abc import Mapping

from pyspark.sql.types import DataType, DoubleType, IntegerType, LongType, StructType

from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError

PARTITION_COLUMNS = ("night", "variant")


def nullable(schema: StructType) -> StructType:
    """Return the schema with every field nullable, as Parquet reads it back."""
    return StructType.fromJson(json.loads(schema.json().replace('"nullable":false', '"nullable":true')))


def wider_types(found: StructType, stored: StructType | None) -> dict[str, DataType]:
    """Return the columns that the frame holds in a type that takes every value of the stored one."""
    narrow = {field.name for field in stored or () if isinstance(field.dataType, IntegerType)}
    return {
        field.name: field.dataType
        for field in found
        if field.name in narrow and isinstance(field.dataType, LongType | DoubleType)
    }


def checked_order(
    found: StructType,
    expected: StructType | None,
    ref: DatasetRef,
    wider: Mapping[str, DataType],
    *,
    may_add_columns: bool,
) -> list[str]:
    """Return the frame's columns in the expected order, new ones last before the partition columns."""
    found_types = {field.name: field.dataType.simpleString() for field in found}
    absent = [name for name in PARTITION_COLUMNS if name not in found_types]
    expected_types = (
        {field.name: field.dataType.simpleString() for field in expected} if expected is not None else found_types
    )
    added = [name for name in found_types if name not in expected_types]
    # Delta would take a frame that lacks a column, and fill it with nulls
    is_equal = all(found_types.get(name) == dtype or name in wider for name, dtype in expected_types.items())
    if absent or not is_equal or (added and not may_add_columns):
        raise NightloopError(
            Fault(
                f"schema of {ref}",
                ", ".join(f"{name} {dtype}" for name, dtype in expected_types.items()),
                ", ".join(f"{name} {dtype}" for name, dtype in found_types.items()),
                f"make the columns {_differing(expected_types, found_types)} equal",
            )
        )
    data = [name for name in (*expected_types, *added) if name not in PARTITION_COLUMNS]
    return [*data, *PARTITION_COLUMNS]


def _differing(expected: dict[str, str], found: dict[str, str]) -> str:
    names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return ", ".join(names or PARTITION_COLUMNS)
