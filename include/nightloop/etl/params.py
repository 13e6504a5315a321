"""How one source's files are read, typed and known."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ColumnType = Literal["string", "int", "bigint", "double", "boolean", "date", "timestamp"]
FileFormat = Literal["csv", "jsonl", "parquet"]


class Column(BaseModel):
    """One column of a source's contract."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ColumnType
    required: bool = Field(default=False, description="a null sets the row aside")
    description: str = ""


class KnownAt(BaseModel):
    """When a record's version became known.

    `arrival`: when its file arrived. `column`: a column says so. `file_name`: the end of the period in the file's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["arrival", "column", "file_name"] = "arrival"
    column: str | None = Field(default=None, description="by column: a date or timestamp column of the source")
    truncated_to: Literal["day", "month"] | None = Field(
        default=None, description="by column: the value is only good to this unit and counts as the unit's end"
    )
    pattern: str | None = Field(
        default=None, description="by file_name: a regular expression with groups year, month and optionally day"
    )


class ReadParams(BaseModel):
    """How files become rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: FileFormat
    columns: dict[str, Column]
    ignored_columns: tuple[str, ...] = ()
    known_at: KnownAt = KnownAt()
